/** A thread of `generate.ts`: draws blocks until none is left and writes them where they belong. */
import { closeSync, openSync, writeSync } from 'node:fs';
import { parentPort, workerData } from 'node:worker_threads';
import { BlockDrawer, blocksOf } from './draw.ts';
import type { SyntheticModel } from './model.ts';

export interface GeneratorWork {
  readonly model: SyntheticModel;
  /** By tensor in the model's order: its two files, and where it begins in both. */
  readonly places: readonly { readonly base: string; readonly finetune: string; readonly begin: number }[];
  /** [next block, 1 when everyone should stop], shared by all threads. */
  readonly control: Int32Array;
}

const { model, places, control } = workerData as GeneratorWork;
const blocks = model.tensors.flatMap((tensor, t) => blocksOf(tensor).map((block) => ({ block, place: places[t]! })));
const drawer = new BlockDrawer(model.seed, model.law);
const handles = new Map<string, number>();
const handle = (path: string): number => {
  const known = handles.get(path) ?? openSync(path, 'r+');
  handles.set(path, known);
  return known;
};
try {
  while (Atomics.load(control, 1) === 0) {
    const next = blocks[Atomics.add(control, 0, 1)];
    if (next === undefined) break;
    const drawn = drawer.draw(next.block);
    const at = next.place.begin + 2 * next.block.firstRow * next.block.width;
    writeFully(handle(next.place.base), drawn.base, at);
    writeFully(handle(next.place.finetune), drawn.finetune, at);
    parentPort!.postMessage({ elements: drawn.base.byteLength / 2, unchanged: drawn.unchanged });
  }
} finally {
  for (const fd of handles.values()) closeSync(fd);
}

function writeFully(fd: number, bytes: Uint8Array, position: number): void {
  for (let done = 0; done < bytes.byteLength; ) {
    done += writeSync(fd, bytes, done, bytes.byteLength - done, position + done);
  }
}
