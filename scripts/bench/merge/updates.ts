/** Synthetic updates: ternary, kept entries and signs independent and uniform, one scale per tensor. */
import { RandomStream } from '../synthetic/random.ts';
import { elementsOf, type Model } from './models.ts';
import { type TernaryTensor, writeTernary } from './subject.ts';

/** Share of entries that are not zero. */
export const DENSITY = 0.2;
/** About the scale that updates of full fine-tunes have; each tensor's is 0.5 to 1.5 times this. */
const SCALE = 1e-3;

/** Writes the payload of a model's update at a step; the same arguments give the same bytes. */
export async function writeUpdate(path: string, model: Model, step: number): Promise<void> {
  await writeTernary(path, model.tensors, tensorsOf(model, step));
}

function* tensorsOf({ name, tensors }: Model, step: number): Generator<TernaryTensor> {
  for (const [index, tensor] of tensors.entries()) {
    yield draw(`${name} ${step} ${tensor.name}`, index, elementsOf(tensor.shape));
  }
}

/** Words drawn at a time. */
const BLOCK = 2 ** 16;

function draw(seed: string, index: number, elements: number): TernaryTensor {
  const random = new RandomStream(seed);
  const scale = Math.fround(SCALE * (0.5 + random.uniform()));
  const words = (elements + 31) >>> 5;
  const [plus, minus] = [new Uint32Array(words), new Uint32Array(words)];
  const drawn = new Uint32Array(BLOCK);
  const below = [Math.round((DENSITY / 2) * 2 ** 32), Math.round(DENSITY * 2 ** 32)] as const;
  let nnz = 0;
  for (let start = 0; start < elements; start += BLOCK) {
    random.fill(drawn);
    const count = Math.min(BLOCK, elements - start);
    for (let i = 0; i < count; i++) {
      if (drawn[i]! >= below[1]) continue;
      const at = start + i;
      (drawn[i]! < below[0] ? plus : minus)[at >>> 5]! |= 1 << (at & 31);
      nnz++;
    }
  }
  // A payload has no section for a tensor without entries; a short tensor may draw none.
  if (nnz === 0) {
    plus[0] = 1;
    nnz = 1;
  }
  return { index, elements, scale, plus, minus, nnz };
}
