/** What the merge tests share: a scratch directory, engines, task vectors in memory, states read back. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterAll, expect } from 'vitest';
import { createEngine, type Device, type MatrixEngine } from '../../../src/compute/index.ts';
import { type FoldTensor, foldStep, type OpcmRule, openState, type TaskVector } from '../../../src/merge/index.ts';
import { type Checkpoint, createSafetensors, narrow, openCheckpoint } from '../../../src/tensors/index.ts';

export const fixtures = new URL('../../fixtures/', import.meta.url);
export const ref: OpcmRule = { variant: 'ref', alpha: 0.5 };

const cleanups: (() => Promise<unknown>)[] = [];
afterAll(async () => {
  for (const cleanup of cleanups.reverse()) await cleanup();
});

export async function scratch(): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'kinmerge-merge-'));
  cleanups.push(() => rm(path, { recursive: true, force: true }));
  return path;
}

export async function engineOf(workers: number, device: Device = 'cpu'): Promise<MatrixEngine> {
  const engine = await createEngine({ device, workers });
  cleanups.push(() => engine.close());
  return engine;
}

export async function checkpointOf(path: string): Promise<Checkpoint> {
  const checkpoint = await openCheckpoint(path);
  cleanups.push(() => checkpoint.close());
  return checkpoint;
}

export function fixture(name: string): string {
  return new URL(name, fixtures).pathname;
}

export async function fixtureJson<T>(name: string): Promise<T> {
  return JSON.parse(await readFile(fixture(name), 'utf8')) as T;
}

export type Values = Readonly<Record<string, Float32Array>>;

/** A task vector from arrays by name; a tensor without an array is announced as all zero. */
export function taskVector(tensors: readonly FoldTensor[], values: Values): TaskVector {
  return {
    async read(index, out) {
      const found = values[tensors[index]!.name];
      if (found === undefined) {
        out.fill(Number.NaN);
        return false;
      }
      out.set(found);
      return true;
    },
  };
}

/** Folds task vectors one after another into `<dir>/1`, `<dir>/2`, ...; returns the summaries and the last state. */
export async function foldAll(
  dir: string,
  tensors: readonly FoldTensor[],
  updates: readonly TaskVector[],
  engine: MatrixEngine,
  rule = ref,
) {
  const summaries = [];
  let from: string | null = null;
  for (const [i, update] of updates.entries()) {
    const to: string = join(dir, String(i + 1));
    summaries.push(await foldStep({ from, to, tensors, update, rule, engine }));
    from = to;
  }
  return { summaries, state: from! };
}

/** Starts `fold-child.ts` and ends it by SIGKILL as soon as this many tensors are done, in the middle of its step. */
export async function foldAndKill(
  args: readonly [from: string, to: string, base: string, update: string],
  done: number,
): Promise<void> {
  const script = new URL('./fold-child.ts', import.meta.url).pathname;
  const child = spawn(process.execPath, [script, ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
  for await (const line of createInterface(child.stdout)) {
    expect(line).not.toBe('folded');
    if (line.startsWith(`${done}/`)) child.kill('SIGKILL');
  }
  if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
  expect(child.signalCode).toBe('SIGKILL');
}

export async function readSum(dir: string): Promise<Map<string, Float32Array>> {
  const state = await openState(dir);
  try {
    const sums = new Map<string, Float32Array>();
    for (const [index, { name, shape }] of state.tensors.entries()) {
      const out = new Float32Array(shape.reduce((a, b) => a * b, 1));
      await state.read(index, out);
      sums.set(name, out);
    }
    return sums;
  } finally {
    await state.close();
  }
}

/** The difference of two checkpoints' float tensors, all in memory. */
export async function differenceOf(base: Checkpoint, finetune: Checkpoint): Promise<Record<string, Float32Array>> {
  const values: Record<string, Float32Array> = {};
  for (const { name } of base.tensors.values()) {
    const before = await base.readFloat32(name);
    values[name] = (await finetune.readFloat32(name)).map((x, i) => x - before[i]!);
  }
  return values;
}

export async function writeTensors(
  path: string,
  tensors: readonly { name: string; shape: readonly number[]; dtype?: 'F32' | 'F16' | 'BF16'; values: Float32Array }[],
  raw: readonly { name: string; shape: readonly number[]; dtype: 'I64' | 'BOOL'; bytes: Uint8Array }[] = [],
): Promise<void> {
  const writer = await createSafetensors(path, [
    ...tensors.map(({ name, shape, dtype }) => ({ name, shape, dtype: dtype ?? ('F32' as const) })),
    ...raw,
  ]);
  for (const { name, dtype, values } of tensors) await writer.write(name, narrow(values, dtype ?? 'F32'));
  for (const { name, bytes } of raw) await writer.write(name, bytes);
  await writer.commit();
}

/** |a - b| / |b|, Frobenius. */
export function relative(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let difference = 0;
  let norm = 0;
  for (let i = 0; i < b.length; i++) {
    difference += (a[i]! - b[i]!) ** 2;
    norm += b[i]! ** 2;
  }
  return norm === 0 ? Math.sqrt(difference) : Math.sqrt(difference / norm);
}
