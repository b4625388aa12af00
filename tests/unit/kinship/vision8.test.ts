import { beforeAll, describe, expect, it } from 'vitest';
import { checkPayload } from '../../../src/codec/index.ts';
import { ternaryFromSigns } from '../../../src/codec/ternary.ts';
import type { TensorTable, TernaryTensor } from '../../../src/codec/types.ts';
import {
  type AdmissionPolicy,
  type Candidate,
  type Decision,
  decide,
  KinshipState,
  MAX_NORM_TO_BASE,
  MAX_SCALE_TO_BASE,
  meanKinship,
  measurePair,
  type Pair,
  policyForBase,
} from '../../../src/kinship/index.ts';
import { type Packed, pack, readSafetensors, seeded, shuffled } from './support.ts';

const TASKS = ['mnist', 'kmnist', 'kannada', 'notmnist', 'gtsrb', 'cifar10', 'signs', 'omniglot'];

const base = readSafetensors('vision8/base.safetensors');
const table: TensorTable = [...base].map(([name, { shape, values }]) => ({ name, shape, elements: values.length }));
const policy: AdmissionPolicy = policyForBase(
  [...base.values()].map(({ values }) => ({
    elements: values.length,
    sumSquares: (values as Float32Array).reduce((sum, value) => sum + value * value, 0),
  })),
);

/** The task vector of an expert, tensor by tensor. */
function deltasOf(task: string): Float32Array[] {
  const expert = readSafetensors(`vision8/expert-${task}.safetensors`);
  return [...base].map(([name, { values }]) =>
    Float32Array.from(values, (value, k) => expert.get(name)!.values[k]! - value),
  );
}

/** Signs of the entries of largest magnitude, ties by position; as many as the share, at least one. */
function largest(values: Float32Array, density: number): Float32Array {
  const magnitudes = values.map(Math.abs).sort().reverse();
  const keep = Math.max(1, Math.floor(density * values.length));
  const threshold = magnitudes[keep - 1]!;
  let ties = keep - magnitudes.indexOf(threshold);
  return values.map((value) => {
    const magnitude = Math.abs(value);
    if (magnitude < threshold || (magnitude === threshold && ties-- <= 0)) return 0;
    return Math.sign(value);
  });
}

/** The default form: for each tensor its own top-k, and the mean kept magnitude times 1/√density as its scale. */
function compress(task: string, density: number, factor = 1 / Math.sqrt(density)): TernaryTensor[] {
  return deltasOf(task).flatMap((delta, index) => {
    const signs = largest(delta, density);
    const kept = delta.filter((_, k) => signs[k] !== 0).map(Math.abs);
    const mean = kept.reduce((sum, value) => sum + value, 0) / kept.length;
    return ternaryFromSigns(index, signs, factor * mean) ?? [];
  });
}

/** The paper's form (docs/algorithms.md B.1): one top-k, and α·σ as the one scale. */
function compressAsOne(task: string, density: number, alpha: number): TernaryTensor[] {
  const deltas = deltasOf(task);
  const all = Float32Array.from(deltas.flatMap((delta) => [...delta]));
  const mean = all.reduce((sum, value) => sum + value, 0) / all.length;
  const sigma = Math.sqrt(all.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (all.length - 1));
  const signs = largest(all, density);
  let start = 0;
  return deltas.flatMap((delta, index) => {
    const own = signs.subarray(start, start + delta.length);
    start += delta.length;
    return ternaryFromSigns(index, own, alpha * sigma) ?? [];
  });
}

/** Id of a task's update in the paper's form. */
const asOne = (task: string) => `${task}, as one`;

const updates = new Map<string, Packed>();
const candidates = new Map<string, Candidate>();
const pairs = new Map<string, Pair>();
const key = (a: string, b: string) => [a, b].sort().join();
const lookup = (a: string, b: string) => pairs.get(key(a, b));

/** Decides as a node does: measures what is missing, and asks again. */
async function admit(ids: readonly string[]): Promise<Decision[]> {
  for (;;) {
    const { decisions, missing } = decide(
      ids.map((id) => candidates.get(id)!),
      policy,
      lookup,
    );
    if (missing.length === 0) return decisions;
    for (const [a, b] of missing) pairs.set(key(a, b), await measurePair(updates.get(a)!, updates.get(b)!));
  }
}

async function declinedBy(ids: readonly string[]): Promise<Record<string, string>> {
  const declined = (await admit(ids)).filter(({ accepted }) => !accepted);
  return Object.fromEntries(declined.map(({ id, gate }) => [id, gate!]));
}

async function contribute(id: string, tensors: readonly TernaryTensor[]): Promise<void> {
  const packed = await pack(table, tensors);
  updates.set(id, packed);
  candidates.set(id, { id, kind: 'update', payload: packed.measure });
}

beforeAll(async () => {
  const compressed = new Map(TASKS.map((task) => [task, compress(task, 0.2)]));
  for (const [task, tensors] of compressed) await contribute(task, tensors);
  for (const task of TASKS) await contribute(asOne(task), compressAsOne(task, 0.2, 4));
  const kmnist = compressed.get('kmnist')!;
  const rescaled = (factor: number) =>
    kmnist.map((tensor) => ({ ...tensor, scale: Math.fround(tensor.scale * factor) }));
  await contribute('zero', []);
  await contribute('times ten', rescaled(10));
  await contribute('copy of kmnist', kmnist);
  await contribute('smaller copy of kmnist', rescaled(0.5));
  await contribute(
    'negated kmnist',
    kmnist.map(({ plus, minus, ...rest }) => ({ ...rest, plus: minus, minus: plus })),
  );
  await contribute('too dense', compress('signs', 0.6));
  await contribute('few weights moved far', compressAsOne('signs', 0.001, 50));
  // NaN in place of the scale, in bytes that are right otherwise.
  const bytes = Uint8Array.from(updates.get('mnist')!.bytes);
  const scale = new Uint8Array(Float32Array.of(updates.get('mnist')!.measure.tensors[0]!.scale).buffer);
  const at = Buffer.from(bytes).indexOf(scale);
  expect(at).toBeGreaterThan(0);
  bytes.set(new Uint8Array(Float32Array.of(Number.NaN).buffer), at);
  const error = await checkPayload(bytes, table).catch((reason: { code: string; message: string }) => reason);
  if (!('code' in error)) throw new Error('a payload with a NaN scale was measured');
  candidates.set('nan', { id: 'nan', kind: 'update', payload: { fault: error.code, message: error.message } });
});

describe('the default policy on eight real fine-tunes', () => {
  it.each([
    ['the default form', TASKS],
    ["the paper's form", TASKS.map(asOne)],
    ['both forms by turns', TASKS.map((task, k) => (k % 2 === 0 ? task : asOne(task)))],
  ])('accepts all eight in %s, in 1,000 random orders', async (_, ids) => {
    const random = seeded(2410);
    for (let order = 0; order < 1000; order++) {
      const decisions = await admit(shuffled(ids, random));
      expect(decisions.filter(({ accepted }) => accepted)).toHaveLength(8);
    }
  });

  it('measures what honest updates measure', async () => {
    const decisions = await admit(TASKS);
    const cosines = TASKS.flatMap((a, k) => TASKS.slice(0, k).map((b) => lookup(a, b)!.cosine!));
    expect(Math.min(...cosines)).toBeGreaterThan(-0.01);
    expect(Math.max(...cosines)).toBeLessThan(0.06);
    const measures = TASKS.map((task) => updates.get(task)!.measure);
    const norms = measures.map(({ norm }) => (MAX_NORM_TO_BASE * norm) / policy.maxNorm);
    expect(Math.min(...norms)).toBeGreaterThan(0.067);
    expect(Math.max(...norms)).toBeLessThan(0.1);
    const scales = measures.map(
      ({ tensors }) => (MAX_SCALE_TO_BASE * Math.max(...tensors.map(({ scale }) => scale))) / policy.maxScale,
    );
    expect(Math.min(...scales)).toBeGreaterThan(0.25);
    expect(Math.max(...scales)).toBeLessThan(0.53);
    const last = decisions.at(-1)!.gates.filter(({ gate }) => gate === 'norm' || gate === 'kinship');
    expect(last.map(({ verdict }) => verdict)).toEqual(['pass', 'pass']);
  });

  it('takes the same mean kinship from the running state', async () => {
    const decisions = await admit(TASKS);
    const state = new KinshipState();
    for (const task of TASKS.slice(0, -1)) await state.add(updates.get(task)!.payload, updates.get(task)!.measure);
    const { payload, measure } = updates.get('omniglot')!;
    const sum = TASKS.slice(0, -1).reduce((total, task) => total + lookup('omniglot', task)!.fixed, 0n);
    expect(await state.dot(payload, measure)).toBe(sum);
    const row = decisions.at(-1)!.gates.find(({ gate }) => gate === 'kinship')!;
    expect(await state.meanCosine(payload, measure)).toBe(row.measured);
    expect(meanKinship(sum, 7)).toBe(row.measured);
  });

  it.each([
    ['nan', 'bounds', 'payload', 'BAD_SCALE'],
    ['zero', 'bounds', 'not zero', 0],
    ['times ten', 'bounds', 'absolute norm', undefined],
    ['too dense', 'bounds', 'density', undefined],
    ['few weights moved far', 'bounds', 'scale', undefined],
  ])('declines %s wherever it stands, and nothing else', async (id, gate, check, measured) => {
    const random = seeded(13);
    const orders = [
      [id, ...TASKS],
      [...TASKS, id],
      ...Array.from({ length: 100 }, () => shuffled([id, ...TASKS], random)),
    ];
    for (const order of orders) expect(await declinedBy(order)).toEqual({ [id]: gate });
    const failed = (await admit([id]))[0]!.gates.find(({ verdict }) => verdict === 'fail')!;
    expect(failed.check).toBe(check);
    if (measured !== undefined) expect(failed.measured).toBe(measured);
  });

  it.each([
    ['copy of kmnist', 'duplicate', 1],
    ['smaller copy of kmnist', 'duplicate', 1],
    ['negated kmnist', 'opposite', -1],
  ])('declines the later of kmnist and %s, whatever stands between', async (id, gate, cosine) => {
    const random = seeded(29);
    const orders = [
      [id, ...TASKS],
      [...TASKS, id],
      ['kmnist', id],
      [id, 'kmnist'],
      ...Array.from({ length: 100 }, () => shuffled([id, ...TASKS], random)),
    ];
    for (const order of orders) {
      const [first, second] = order.indexOf(id) < order.indexOf('kmnist') ? [id, 'kmnist'] : ['kmnist', id];
      expect(await declinedBy(order)).toEqual({ [second]: gate });
      const decision = (await admit(order)).find((candidate) => candidate.id === second)!;
      const row = decision.gates.find((result) => result.gate === gate)!;
      expect(row).toMatchObject({ measured: cosine, other: first, verdict: 'fail' });
    }
  });

  it('declines all of them together', async () => {
    const bad = ['nan', 'zero', 'times ten', 'copy of kmnist', 'negated kmnist'];
    expect(await declinedBy([...TASKS, ...bad])).toEqual({
      nan: 'bounds',
      zero: 'bounds',
      'times ten': 'bounds',
      'copy of kmnist': 'duplicate',
      'negated kmnist': 'opposite',
    });
    expect(await declinedBy(['nan', 'zero', 'times ten', ...TASKS])).toEqual({
      nan: 'bounds',
      zero: 'bounds',
      'times ten': 'bounds',
    });
  });
});
