/**
 * The ternary forms under comparison. Which entries are kept comes from the project's encoder; here their scales are
 * set in every unit, so that one encoding serves all of them.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { encodeTaskVector, expand, openPayload, type TensorTable, tableOf } from '../../src/codec/index.ts';
import { type Checkpoint, openCheckpoint } from '../../src/tensors/index.ts';

/** One top-k over the whole vector or one per tensor; one scale for the whole vector or one per tensor. */
export const FORMS = ['tensor', 'global', 'global mask, tensor scales'] as const;
export type Form = (typeof FORMS)[number];

/** What a factor multiplies: the mean kept magnitude, or the standard deviation of the unpruned vector or tensor. */
export const UNITS = ['magnitude', 'deviation'] as const;
export type Unit = (typeof UNITS)[number];

/** A task vector's tensors by name; those of an update at factor 1. */
export type Vector = ReadonlyMap<string, Float32Array>;

/** Signs of the kept entries and moments of one tensor. */
interface Part {
  readonly name: string;
  readonly signs: Float32Array;
  readonly elements: number;
  readonly kept: number;
  /** Sums over the unpruned tensor, and the sum of the kept magnitudes. */
  readonly sum: number;
  readonly squares: number;
  readonly keptMagnitude: number;
}

/** fround(fine-tune - base), tensor by tensor. */
export async function taskVector(base: Checkpoint, expert: string): Promise<Vector> {
  const finetune = await openCheckpoint(expert);
  try {
    const vector = new Map<string, Float32Array>();
    for (const { name } of tableOf(base)) {
      const before = await base.readFloat32(name);
      vector.set(
        name,
        (await finetune.readFloat32(name)).map((value, i) => value - before[i]!),
      );
    }
    return vector;
  } finally {
    await finetune.close();
  }
}

/** The kept entries of one expert at one density, for both kinds of mask. */
export class Masks {
  readonly #global: readonly Part[];
  readonly #tensor: readonly Part[];

  private constructor(global: readonly Part[], tensor: readonly Part[]) {
    this.#global = global;
    this.#tensor = tensor;
  }

  static async make(base: Checkpoint, expert: string, density: number): Promise<Masks> {
    const scratch = await mkdtemp(join(tmpdir(), 'kinmerge-settings-'));
    const finetune = await openCheckpoint(expert);
    try {
      const table = tableOf(base);
      const vector = await taskVector(base, expert);
      const parts = async (mode: 'global' | 'tensor'): Promise<Part[]> => {
        const out = join(scratch, mode);
        await encodeTaskVector({ base, finetune, table, density, mode, scaleUnit: 'magnitude', scaleFactor: 1 }, out);
        return measure(vector, table, out);
      };
      return new Masks(await parts('global'), await parts('tensor'));
    } finally {
      await finetune.close();
      await rm(scratch, { recursive: true });
    }
  }

  /** The decoded update at factor 1. */
  vector(form: Form, unit: Unit): Vector {
    const parts = this.#parts(form);
    const whole = scaleOf(parts, unit);
    return new Map(
      parts.map((part) => {
        const scale = form === 'global' ? whole : scaleOf([part], unit);
        return [part.name, part.signs.map((sign) => sign * scale)];
      }),
    );
  }

  /** Share of the task vector's energy that the form keeps at its least-squares scale or scales. */
  energy(form: Form): number {
    const parts = this.#parts(form);
    const kept = (of: readonly Part[]) =>
      total(of, (p) => p.keptMagnitude) ** 2 /
      Math.max(
        1,
        total(of, (p) => p.kept),
      );
    const all = total(parts, (p) => p.squares);
    return (form === 'global' ? kept(parts) : total(parts, (part) => kept([part]))) / all;
  }

  #parts(form: Form): readonly Part[] {
    return form === 'tensor' ? this.#tensor : this.#global;
  }
}

async function measure(vector: Vector, table: TensorTable, payload: string): Promise<Part[]> {
  const reader = await openPayload(payload, table);
  try {
    const parts: Part[] = [];
    for (const [index, { name, elements }] of table.entries()) {
      const decoded = new Float32Array(elements);
      const tensor = await reader.tensor(index);
      if (tensor) expand(tensor, decoded);
      const signs = decoded.map(Math.sign);
      let [kept, sum, squares, keptMagnitude] = [0, 0, 0, 0];
      for (const [i, value] of vector.get(name)!.entries()) {
        if (signs[i] !== 0) kept++;
        sum += value;
        squares += value * value;
        keptMagnitude += signs[i]! * value;
      }
      parts.push({ name, signs, elements, kept, sum, squares, keptMagnitude });
    }
    return parts;
  } finally {
    await reader.close();
  }
}

function scaleOf(parts: readonly Part[], unit: Unit): number {
  const kept = total(parts, (part) => part.kept);
  if (kept === 0) return 0;
  if (unit === 'magnitude') return total(parts, (part) => part.keptMagnitude) / kept;
  const elements = total(parts, (part) => part.elements);
  const squares = total(parts, (part) => part.squares) - total(parts, (part) => part.sum) ** 2 / elements;
  return Math.sqrt(squares / (elements - 1));
}

function total(parts: readonly Part[], of: (part: Part) => number): number {
  return parts.reduce((sum, part) => sum + of(part), 0);
}
