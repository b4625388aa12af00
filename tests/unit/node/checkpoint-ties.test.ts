import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { copyCheckpoint } from '../../../node/checkpoint/copy.ts';
import { settleTies, TIE_REFOLDS_MAX, type Tie } from '../../../node/checkpoint/ties.ts';
import { verifyCheckpoint } from '../../../node/checkpoint/verify.ts';
import { createCommunity, DEFAULT_BUDGET } from '../../../node/community/create.ts';
import type { View } from '../../../node/core/view.ts';
import { type HomePaths, homePaths } from '../../../node/home/paths.ts';
import { foldPayload } from '../../../node/work/merge-calls.ts';
import { encodeTernarySync, ternaryFromSigns } from '../../../src/codec/index.ts';
import { createEngine, type MatrixEngine } from '../../../src/compute/index.ts';
import { charterTable } from '../../../src/log/index.ts';
import { exportMerged, type VerifyReport } from '../../../src/merge/index.ts';
import { createSafetensors, openCheckpoint } from '../../../src/tensors/index.ts';
import { runInProcess } from '../cli/support.ts';
import { testKey } from '../log/helpers.ts';
import { writeHome } from './checkpoint-support.ts';
import { joinHome, newHome, openCommunityHere, type Pond, random, scratch, updateOf } from './support.ts';

const ROWS = 12;
const COLUMNS = 16;
const NAMES = ['a.weight', 'b.weight'] as const;
const SCALE = Math.fround(0.02);
const ALPHA = 0.5;

/**
 * Blocks of ones of 3 x 3, 2 x 2 and 1 x 1: singular values 3, 2 and 1 times the scale, of which the first is exactly
 * half. Rounding says whether the split rank of alpha 0.5 is 0 or 1 on a machine.
 */
function tiedSigns(): Int8Array {
  const signs = new Int8Array(ROWS * COLUMNS);
  for (const [from, to] of [
    [0, 3],
    [3, 5],
    [5, 6],
  ] as const) {
    for (let i = from; i < to; i++) signs.fill(1, i * COLUMNS + from, i * COLUMNS + to);
  }
  return signs;
}

/** Much of it lies along the first block of the other. */
function laterSigns(seed: number): Int8Array {
  const draw = random(seed);
  return tiedSigns().map((sign, at) =>
    sign !== 0 && at < 3 * COLUMNS ? 1 : draw() < 0.2 ? (draw() < 0.5 ? 1 : -1) : 0,
  );
}

interface Scene {
  readonly pond: Pond;
  readonly home: HomePaths;
  readonly view: View;
  readonly engine: MatrixEngine;
  /** The split rank of the tied sum here: 0 or 1. */
  readonly side: number;
}

/** A community of variant `lite` that holds two updates; the second meets a tie in both tensors. */
async function makeScene(): Promise<Scene> {
  const directory = await scratch();
  const base = join(directory, 'base');
  await mkdir(base);
  const tensors = NAMES.map((name) => ({ name, dtype: 'F32' as const, shape: [ROWS, COLUMNS] }));
  const writer = await createSafetensors(join(base, 'model.safetensors'), tensors);
  for (const [seed, name] of NAMES.entries()) {
    const next = random(seed);
    const values = new Float32Array(ROWS * COLUMNS).map(() => next() - 0.5);
    await writer.write(name, new Uint8Array(values.buffer));
  }
  await writer.commit();
  const merge = { method: 'opcm', variant: 'lite', alpha: ALPHA, scale: 1 } as const;
  const made = await createCommunity(
    {
      base,
      name: 'ties',
      out: join(directory, 'charter.cbor'),
      open: true,
      merge,
      limits: {},
      budgets: DEFAULT_BUDGET,
    },
    { home: homePaths(join(directory, 'first')) },
  );
  const table = charterTable(made.charter);
  const home = homePaths(join(directory, 'first'));
  const pond = { directory, base, charter: made.charter, charterId: made.id, charterBytes: made.bytes, table, home };
  const payload = (signsOf: (index: number) => Int8Array) =>
    encodeTernarySync(
      table,
      NAMES.map((_, index) => ternaryFromSigns(index, signsOf(index), SCALE)!),
    );
  const author = testKey(1);
  const first = await updateOf(pond, author, payload(tiedSigns));
  const second = await updateOf(
    pond,
    author,
    payload((index) => laterSigns(40 + index)),
    { prev: first.signed },
  );
  await joinHome(pond, home);
  const own = await newHome(pond);
  await writeHome(own, [first, second]);
  const community = await openCommunityHere(pond, { home: own });
  const view = await community.settled();
  await community.close();
  expect(view.accepted).toHaveLength(2);
  const engine = await createEngine({ device: 'cpu', workers: 1 });
  onTestFinished(() => engine.close());
  const sum = Float32Array.from(tiedSigns(), (sign) => sign * SCALE);
  const { splitRank: side, splitNeighbour } = await engine.project({
    sum,
    update: sum.slice(),
    rows: ROWS,
    columns: COLUMNS,
    rule: { variant: 'lite', alpha: ALPHA },
  });
  expect([side, splitNeighbour].sort()).toEqual([0, 1]);
  return { pond, home: own, view, engine, side };
}

/** What a node publishes that took the other side in these tensors in the second step, or merged by another alpha. */
async function publish(scene: Scene, turned: readonly string[], alpha = ALPHA): Promise<string> {
  const { pond, home, view, engine } = scene;
  const work = await scratch();
  const { charter } = pond;
  const asked = { ...charter, merge: { ...charter.merge, alpha } };
  let state: string | null = null;
  for (const [step, { payload }] of view.accepted.entries()) {
    const to: string = join(work, `state-${step}`);
    const splitRanks = new Map(step === 1 ? turned.map((name) => [name, 1 - scene.side]) : []);
    const path = join(home.blobs, payload.toString());
    await foldPayload({ from: state, to, payload: path, charter: asked, engine, splitRanks }, {});
    state = to;
  }
  const base = await openCheckpoint(pond.base);
  const exported = join(work, 'exported');
  const recipe = view.recipeId.toString();
  const metadata = { 'kinmerge.community': pond.charterId.toString(), 'kinmerge.recipe': recipe };
  await exportMerged({ state, base, scale: 1, out: exported, metadata });
  await base.close();
  const out = join(work, 'published');
  await copyCheckpoint({ view, checkpoint: { path: exported, recipe } }, out, charter);
  return out;
}

function verify({ pond, home }: Scene, directory: string, options: { exact?: boolean; tensors?: number } = {}) {
  const { exact = false, tensors } = options;
  return verifyCheckpoint(
    { directory, base: pond.base, tensors, exact, engine: { device: 'cpu', workers: 1 } },
    { home },
  );
}

function tie(tensor: string, side: number, turned = false): Tie {
  return { step: 1, tensor, splitRank: side, splitNeighbour: 1 - side, taken: turned ? 1 - side : side };
}

describe('a checkpoint of updates whose running share is alpha', () => {
  test.each<[string, readonly string[]]>([
    ["on this machine's side of every tie", []],
    ['on the other side in one tensor', ['b.weight']],
    ['on the other side in both', ['a.weight', 'b.weight']],
  ])('passes %s, also to the byte, and says which side it took', async (_what, turned) => {
    const scene = await makeScene();
    const directory = await publish(scene, turned);
    for (const exact of [false, true]) {
      const { report, ties, refolds } = await verify(scene, directory, { exact });
      expect(report.verdict).toBe('pass');
      expect(ties).toEqual(NAMES.map((name) => tie(name, scene.side, turned.includes(name))));
      expect(refolds).toBeLessThanOrEqual(3);
      expect(refolds).toBeGreaterThanOrEqual(turned.length);
    }
  });

  test('passes by any of its tensors', async () => {
    const scene = await makeScene();
    const directory = await publish(scene, ['a.weight']);
    for (let i = 0; i < 4; i++) {
      expect(await verify(scene, directory, { tensors: 1 })).toMatchObject({ report: { verdict: 'pass', checked: 1 } });
    }
  });

  test('fails with a split rank that is on neither side', async () => {
    const scene = await makeScene();
    // With alpha 0.9 the head is 3 and 2 of 6: no rounding gives that for 0.5.
    const directory = await publish(scene, [], 0.9);
    const { report, ties, refolds } = await verify(scene, directory);
    expect(report.verdict).toBe('fail');
    expect(ties).toEqual(NAMES.map((name) => tie(name, scene.side)));
    expect(refolds).toBe(3);
  });

  test('is told of by the verb, in text and in JSON', async () => {
    const scene = await makeScene();
    const { side, pond, home } = scene;
    const directory = await publish(scene, ['a.weight']);
    const words = ['verify', directory, '--base', pond.base, '--home', home.root, '--workers', '1'];
    const text = await runInProcess(words);
    expect(text).toMatchObject({ code: 0, stderr: '' });
    expect(text.stdout).toContain(
      `a tie at update 2 in a.weight: split ranks ${side} and ${1 - side} are both right, ` +
        `the checkpoint agrees with ${1 - side}, the neighbour of that of this machine`,
    );
    expect(text.stdout).toContain(`the checkpoint agrees with ${side}, that of this machine`);
    const json = await runInProcess([...words, '--json']);
    expect(JSON.parse(json.stdout)).toMatchObject({
      verdict: 'pass',
      ties: [tie('a.weight', side, true), tie('b.weight', side)],
    });
  });
});

describe('the search for the sides of ties', () => {
  const ties = Array.from({ length: 40 }, (_, i) => tie(`t${String(i).padStart(2, '0')}`, 1));
  /** A checkpoint that took the neighbour in some tensors; `common` is a fault that every tensor shows until all are right. */
  const search = async (wanted: readonly string[], common = false) => {
    let attempts = 0;
    const settled = await settleTies(async (turned) => {
      attempts++;
      const names = new Set(turned.map(({ tensor }) => tensor));
      const right = (name: string) => names.has(name) === wanted.includes(name);
      const pass = ties.every(({ tensor }) => right(tensor));
      const tensors = ties.map(({ tensor: name }) => ({
        name,
        verdict: (common ? pass : right(name)) ? ('pass' as const) : ('fail' as const),
        faults: [],
      }));
      return { ties, report: { verdict: pass ? 'pass' : 'fail', tensors } as unknown as VerifyReport };
    });
    return { attempts, refolds: settled.refolds, verdict: settled.report.verdict };
  };

  test('takes one fold each where every turned side shows, up to the limit', async () => {
    const names = ties.map(({ tensor }) => tensor);
    expect(await search([])).toEqual({ attempts: 1, refolds: 0, verdict: 'pass' });
    const most = names.slice(-TIE_REFOLDS_MAX);
    expect(await search(most)).toEqual({ attempts: 1 + TIE_REFOLDS_MAX, refolds: TIE_REFOLDS_MAX, verdict: 'pass' });
    const more = names.slice(-TIE_REFOLDS_MAX - 1);
    expect(await search(more)).toEqual({ attempts: 1 + TIE_REFOLDS_MAX, refolds: TIE_REFOLDS_MAX, verdict: 'fail' });
  });

  test('ends at the limit where nothing shows which side is right', async () => {
    expect(await search(['t39'], true)).toMatchObject({ refolds: TIE_REFOLDS_MAX, verdict: 'fail' });
    expect(await search(['t02'], true)).toEqual({ attempts: 4, refolds: 3, verdict: 'pass' });
  });
});
