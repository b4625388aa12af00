/**
 * The fold's state on disk (docs/algorithms.md, C.2): its size does not depend on the number of updates.
 *
 * A state directory holds `S.safetensors`, the unnormalised sum S in float32, and `state.json`: steps, the sum of the
 * updates' norms, and for each tensor the sum of squares and the SHA-256 of its bytes. A tensor's hash is checked when
 * the tensor is read, and `state.json` ends with a hash of itself, so a cut or changed state is noticed and not used.
 */
import { createHash } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import * as z from 'zod';
import { errorCode } from '../errors.ts';
import type { RunOptions } from '../run-options.ts';
import { openCheckpoint, SafetensorsError } from '../tensors/index.ts';
import { MergeError } from './errors.ts';
import { OPCM_VARIANTS, type OpcmRule } from './opcm.ts';
import { elementsOf, type FoldTensor } from './task-vector.ts';

export const STATE_VERSION = 1;
export const SUM_FILE = 'S.safetensors';
export const STATE_FILE = 'state.json';

/** Bytes of `state.json`: 1,000,000 tensors at about 250 bytes, the most that a checkpoint may have. */
export const STATE_JSON_MAX = 256 * 2 ** 20;

export interface StateTensor extends FoldTensor {
  /** Of the float32 values in the file, in float64, flat order by blocks. */
  readonly sumSquares: number;
  /** Hexadecimal, of the tensor's raw bytes. */
  readonly sha256: string;
}

export interface StateHeader {
  /** Updates folded so far, at least 1. */
  readonly steps: number;
  /** Sum of the updates' whole-model norms, in the order of the steps. */
  readonly sumNorms: number;
  readonly rule: { readonly variant: OpcmRule['variant']; readonly alpha: number };
  readonly tensors: readonly StateTensor[];
}

/** The scalars of docs/algorithms.md, C.2. */
export interface StateTotals {
  /** |S| over all tensors. */
  readonly norm: number;
  /** Mean of the updates' norms: the norm that the merged task vector gets. */
  readonly meanNorm: number;
  /** |S| / meanNorm; 1 when either is 0. The merged task vector is S / lambda. */
  readonly lambda: number;
}

export interface MergeState extends StateHeader, StateTotals {
  readonly path: string;
  /**
   * Reads a tensor over all of `out`, and checks its bytes against the state.
   *
   * @throws MergeError `STATE_CORRUPT`
   */
  read(index: number, out: Float32Array, options?: RunOptions): Promise<void>;
  close(): Promise<void>;
}

const count = z.number().int().nonnegative();
const squares = z.number().nonnegative();
const sha256Hex = z.string().regex(/^[0-9a-f]{64}$/);

const stateSchema = z.strictObject({
  version: z.literal(STATE_VERSION),
  steps: count.min(1),
  sumNorms: squares,
  rule: z.strictObject({ variant: z.enum(OPCM_VARIANTS), alpha: z.number().nonnegative() }),
  tensors: z.array(
    z.strictObject({
      name: z.string(),
      shape: z.array(count),
      linear: z.boolean(),
      sumSquares: squares,
      sha256: sha256Hex,
    }),
  ),
  digest: sha256Hex,
});

export function totalsOf(header: StateHeader): StateTotals {
  let squaresOfAll = 0;
  for (const tensor of header.tensors) squaresOfAll += tensor.sumSquares;
  const norm = Math.sqrt(squaresOfAll);
  const meanNorm = header.sumNorms / header.steps;
  return { norm, meanNorm, lambda: norm === 0 || meanNorm === 0 ? 1 : norm / meanNorm };
}

/** The bytes of `state.json`: the same state gives the same bytes. */
export function encodeState(header: StateHeader): Uint8Array {
  const { steps, sumNorms, rule, tensors } = header;
  const body = {
    version: STATE_VERSION,
    steps,
    sumNorms,
    rule: { variant: rule.variant, alpha: rule.alpha },
    tensors: tensors.map(({ name, shape, linear, sumSquares, sha256 }) => ({
      name,
      shape,
      linear,
      sumSquares,
      sha256,
    })),
  };
  return new TextEncoder().encode(`${JSON.stringify({ ...body, digest: digestOf(body) })}\n`);
}

function digestOf(body: object): string {
  return createHash('sha256').update(JSON.stringify(body)).digest('hex');
}

/**
 * Opens a state directory. Everything but the tensors' bytes is checked here; those are when they are read.
 *
 * @throws MergeError `STATE_MISSING`, `STATE_CORRUPT`, `STATE_VERSION`, `STATE_UNREADABLE`; CheckpointError when the
 *   operating system refuses the sum
 */
export async function openState(path: string, options: RunOptions = {}): Promise<MergeState> {
  const header = await readHeader(path);
  const sum = await openCheckpoint(join(path, SUM_FILE), options).catch((error: unknown) => {
    const broken =
      error instanceof SafetensorsError || errorCode(error) === 'NOT_FOUND' || errorCode(error) === 'NOT_A_FILE';
    throw broken ? corrupt(path, `its ${SUM_FILE} is missing or cut`, {}, error) : error;
  });
  try {
    if (sum.tensors.size !== header.tensors.length) throw corrupt(path, `its ${SUM_FILE} has other tensors`);
    for (const tensor of header.tensors) {
      const found = sum.tensors.get(tensor.name);
      if (found?.dtype !== 'F32' || found.shape.join() !== tensor.shape.join()) {
        throw corrupt(path, `its ${SUM_FILE} does not have '${tensor.name}' as described`, { tensor: tensor.name });
      }
    }
  } catch (error) {
    await sum.close();
    throw error;
  }

  return {
    ...header,
    path,
    ...totalsOf(header),
    close: () => sum.close(),
    async read(index, out, readOptions) {
      const tensor = header.tensors[index]!;
      const target = new Uint8Array(out.buffer, out.byteOffset, out.byteLength);
      if (out.length !== elementsOf(tensor.shape)) {
        throw new MergeError('BAD_INPUT', `'${tensor.name}' needs ${elementsOf(tensor.shape)} entries.`, {
          tensor: tensor.name,
        });
      }
      const hash = createHash('sha256');
      // Into the caller's memory: a collector would free pieces of its own late, and a model has thousands.
      await sum.readInto(tensor.name, target, (piece) => hash.update(piece), readOptions);
      if (hash.digest('hex') !== tensor.sha256) {
        throw corrupt(path, `the bytes of '${tensor.name}' changed`, { tensor: tensor.name });
      }
    },
  };
}

async function readHeader(path: string): Promise<StateHeader> {
  const file = join(path, STATE_FILE);
  let text: string;
  try {
    const { size } = await stat(file);
    if (size > STATE_JSON_MAX) throw corrupt(path, `its ${STATE_FILE} has ${size} bytes`, { size });
    text = await readFile(file, 'utf8');
  } catch (error) {
    if (error instanceof MergeError) throw error;
    const errno = (error as NodeJS.ErrnoException).code;
    const missing = errno === 'ENOENT' || errno === 'ENOTDIR';
    throw new MergeError(
      missing ? 'STATE_MISSING' : 'STATE_UNREADABLE',
      missing
        ? `There is no merge state in ${path}. Fold the updates again.`
        : `The merge state in ${path} cannot be read (${errno}). Check its permissions and the disk.`,
      { path, errno },
      { cause: error },
    );
  }
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw corrupt(path, `its ${STATE_FILE} is cut or changed`, {}, error);
  }
  const version = (json as { version?: unknown } | null)?.version;
  if (typeof version === 'number' && version !== STATE_VERSION) {
    throw new MergeError(
      'STATE_VERSION',
      `The merge state in ${path} has version ${version}, and this kinmerge knows ${STATE_VERSION}. Fold again.`,
      { path, version, known: STATE_VERSION },
    );
  }
  const parsed = stateSchema.safeParse(json);
  if (!parsed.success) throw corrupt(path, `its ${STATE_FILE} is not one`, {}, parsed.error);
  const { digest, ...body } = parsed.data;
  if (digestOf(body) !== digest) throw corrupt(path, `its ${STATE_FILE} was changed`);
  return body;
}

function corrupt(path: string, what: string, fields: Record<string, unknown> = {}, cause?: unknown): MergeError {
  return new MergeError(
    'STATE_CORRUPT',
    `The merge state in ${path} is damaged: ${what}. Remove it and fold again from an earlier state.`,
    { path, ...fields },
    { cause },
  );
}
