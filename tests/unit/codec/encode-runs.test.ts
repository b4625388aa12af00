import { readdirSync, readlinkSync, truncateSync, unlinkSync, writeFileSync } from 'node:fs';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { encodeGlobal, encodeTensors, globalRule } from '../../../src/codec/encode/dense.ts';
import { pairsOf } from '../../../src/codec/encode/pairs.ts';
import { MAX_INLINE_ELEMENTS, openEncodeThreads } from '../../../src/codec/encode/threads.ts';
import { type EncodeInput, encodeTaskVector, tableOf } from '../../../src/codec/index.ts';
import type { Progress } from '../../../src/run-options.ts';
import { CheckpointError, dtypeBytes } from '../../../src/tensors/index.ts';
import { randomTensor, StoredSource, type StoredTensor } from './stored.ts';
import { temporaryDirectory } from './support.ts';

// Of equal tensors, so that the count is never a multiple of that of the copies: ties are cut.
const CUT_DENSITY = 0.1003;
const SETTINGS = { density: CUT_DENSITY, scaleUnit: 'deviation', scaleFactor: 2 } as const;
const MODES = ['global', 'tensor'] as const;

/** A model in a file, and its base, all zeros, in another: of bfloat16, so that many magnitudes are equal. */
async function modelOf(tensors: number, elements: number): Promise<{ base: StoredSource; finetune: StoredSource }> {
  const zeros: StoredTensor = { dtype: 'BF16', bytes: new Uint8Array(elements * dtypeBytes('BF16')) };
  const values = [randomTensor('BF16', elements, 11), randomTensor('BF16', elements, 12)] as const;
  const source = (tensor: (i: number) => StoredTensor) =>
    StoredSource.create(Object.fromEntries(Array.from({ length: tensors }, (_, i) => [`t${i}`, tensor(i)])));
  return { base: await source(() => zeros), finetune: await source((i) => values[(i % 2) as 0 | 1]) };
}

function inputOf(model: { base: StoredSource; finetune: StoredSource }, more: Partial<EncodeInput> = {}): EncodeInput {
  return { ...model, table: tableOf(model.base), mode: 'global', ...SETTINGS, ...more };
}

/** Descriptors of this process that lead to a file. */
function descriptorsOf(path: string): number {
  const targets = readdirSync('/proc/self/fd').map((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`);
    } catch {
      return '';
    }
  });
  return targets.filter((target) => target === path).length;
}

/** Threads of this process that the encoder started. */
function encoderThreads(): number {
  return process.getActiveResourcesInfo().filter((resource) => resource === 'MessagePort').length;
}

async function listOf<T>(items: AsyncIterable<T>): Promise<T[]> {
  const list: T[] = [];
  for await (const item of items) list.push(item);
  return list;
}

/** Large enough for threads, in as many tensors as keep two of them busy. */
const LARGE = { tensors: 6, elements: Math.ceil(MAX_INLINE_ELEMENTS / 5) };

describe('progress', () => {
  test.each([
    ['global', CUT_DENSITY, ['measuring', 'selecting', 'counting ties', 'encoding']],
    ['global', 1, ['measuring', 'selecting', 'encoding']],
    ['tensor', CUT_DENSITY, ['encoding']],
  ] as const)('of mode %s at density %d is told by passes, in bytes that were read', async (mode, density, phases) => {
    const events: Progress[] = [];
    const model = await modelOf(4, 1000);
    const out = join(await temporaryDirectory(), 'payload');
    await encodeTaskVector(inputOf(model, { mode, density }), out, { onProgress: (p) => events.push(p) });
    expect([...new Set(events.map((e) => e.phase))]).toEqual(phases);
    const step = 2 * 1000 * dtypeBytes('BF16');
    for (const phase of phases) {
      const mine = events.filter((e) => e.phase === phase);
      expect(mine.map((e) => e.done)).toEqual([0, step, 2 * step, 3 * step, 4 * step]);
      expect(mine.every((e) => e.total === 4 * step && e.unit === 'bytes')).toBe(true);
    }
  });
});

describe('cancellation', () => {
  test.each(['measuring', 'selecting', 'counting ties', 'encoding'])('while %s leaves nothing', async (phase) => {
    const controller = new AbortController();
    const model = await modelOf(6, 1000);
    const directory = await temporaryDirectory();
    let after = 0;
    const run = encodeTaskVector(inputOf(model), join(directory, 'payload'), {
      signal: controller.signal,
      onProgress: (p) => {
        if (controller.signal.aborted) after++;
        if (p.phase === phase && p.done > 0) controller.abort(new Error('enough'));
      },
    });
    await expect(run).rejects.toThrow('enough');
    expect(after).toBe(0);
    expect(await readdir(directory)).toEqual([]);
    expect([descriptorsOf(model.base.path), descriptorsOf(model.finetune.path)]).toEqual([0, 0]);
  });

  test('before it begins', async () => {
    const model = await modelOf(1, 10);
    const out = join(await temporaryDirectory(), 'payload');
    const signal = AbortSignal.abort(new Error('enough'));
    await expect(encodeTaskVector(inputOf(model), out, { signal })).rejects.toThrow('enough');
  });

  test.each(MODES)('while threads work ends within a second and leaves nothing: %s', async (mode) => {
    const model = await modelOf(LARGE.tensors, LARGE.elements);
    const directory = await temporaryDirectory();
    const before = encoderThreads();
    for (const phase of mode === 'global' ? ['measuring', 'selecting', 'encoding'] : ['encoding']) {
      const controller = new AbortController();
      let aborted = Number.POSITIVE_INFINITY;
      const run = encodeTaskVector(inputOf(model, { mode, threads: 2 }), join(directory, 'payload'), {
        signal: controller.signal,
        onProgress: (p) => {
          if (p.phase !== phase || controller.signal.aborted) return;
          // The first report is made before the jobs are given out: they are under way when the timer fires.
          setTimeout(() => {
            aborted = performance.now();
            controller.abort(new Error('enough'));
          }, 5);
        },
      });
      await expect(run).rejects.toThrow('enough');
      expect(performance.now() - aborted).toBeLessThan(1000);
      expect(await readdir(directory)).toEqual([]);
      expect(encoderThreads()).toBe(before);
      expect([descriptorsOf(model.base.path), descriptorsOf(model.finetune.path)]).toEqual([0, 0]);
    }
  });
});

describe('threads', () => {
  test('give the same payload, however many there are, and none is left', async () => {
    const model = await modelOf(LARGE.tensors, LARGE.elements);
    const directory = await temporaryDirectory();
    const before = encoderThreads();
    for (const mode of MODES) {
      const payloads: Buffer[] = [];
      for (const threads of [1, 2, 4]) {
        const out = join(directory, `payload-${threads}`);
        await encodeTaskVector(inputOf(model, { mode, threads }), out);
        payloads.push(await readFile(out));
        expect(encoderThreads()).toBe(before);
        expect([descriptorsOf(model.base.path), descriptorsOf(model.finetune.path)]).toEqual([0, 0]);
      }
      expect(payloads[1]!.equals(payloads[0]!) && payloads[2]!.equals(payloads[0]!)).toBe(true);
    }
  });

  test('give the same sections as the caller’s own thread', async () => {
    const model = await modelOf(9, 3001);
    const table = tableOf(model.base);
    const pairs = pairsOf(
      model.base,
      model.finetune,
      table,
      table.map(({ name }) => name),
    );
    const sections = async (elements: number, mode: 'global' | 'tensor') => {
      const threads = openEncodeThreads([{ elements: elements }], 2);
      const components = { table, pairs, threads };
      const settings = { ...SETTINGS, mode };
      try {
        if (mode === 'tensor') return await listOf(encodeTensors(components, settings, {}));
        const rule = await globalRule(components, settings, 9 * 3001, {});
        return [rule, ...(await listOf(encodeGlobal(components, rule, {})))];
      } finally {
        await threads.close();
      }
    };
    for (const mode of MODES) {
      const inline = await sections(MAX_INLINE_ELEMENTS, mode);
      expect(inline.length).toBeGreaterThanOrEqual(9);
      expect(await sections(MAX_INLINE_ELEMENTS + 1, mode)).toEqual(inline);
    }
  });

  test('that the caller keeps serve one encoding after another, also after one that was cancelled', async () => {
    const model = await modelOf(LARGE.tensors, LARGE.elements);
    const directory = await temporaryDirectory();
    const expected = join(directory, 'expected');
    await encodeTaskVector(inputOf(model, { mode: 'tensor' }), expected);
    const before = encoderThreads();
    const threads = openEncodeThreads(tableOf(model.base), 2);
    try {
      const kept = encoderThreads();
      expect(kept).toBeGreaterThan(before);
      for (let i = 0; i < 3; i++) {
        const out = join(directory, `payload-${i}`);
        await encodeTaskVector(inputOf(model, { mode: 'tensor', threads }), out);
        expect((await readFile(out)).equals(await readFile(expected))).toBe(true);
        expect(encoderThreads()).toBe(kept);
        const control = new AbortController();
        const onProgress = ({ done }: Progress) => done > 0 && control.abort(new Error('enough'));
        const cancelled = encodeTaskVector(inputOf(model, { mode: 'tensor', threads }), join(directory, 'cancelled'), {
          signal: control.signal,
          onProgress,
        });
        await expect(cancelled).rejects.toThrow('enough');
      }
    } finally {
      await threads.close();
    }
    expect(encoderThreads()).toBe(before);
  });

  test('that the caller keeps serve the next encoding after one that failed', async () => {
    const model = await modelOf(LARGE.tensors, LARGE.elements);
    const bad = await modelOf(LARGE.tensors, LARGE.elements);
    // A NaN of bfloat16 in the first tensor.
    const bytes = await readFile(bad.finetune.path);
    bytes.set([0xff, 0x7f], 0);
    await writeFile(bad.finetune.path, bytes);
    const directory = await temporaryDirectory();
    const expected = join(directory, 'expected');
    await encodeTaskVector(inputOf(model, { mode: 'tensor' }), expected);
    const threads = openEncodeThreads(tableOf(model.base), 2);
    try {
      const failed = encodeTaskVector(inputOf(bad, { mode: 'tensor', threads }), join(directory, 'failed'));
      await expect(failed).rejects.toMatchObject({ code: 'NOT_FINITE' });
      const out = join(directory, 'payload');
      await encodeTaskVector(inputOf(model, { mode: 'tensor', threads }), out);
      expect((await readFile(out)).equals(await readFile(expected))).toBe(true);
    } finally {
      await threads.close();
    }
  });

  test('are started above a number of elements', async () => {
    expect(openEncodeThreads([{ elements: MAX_INLINE_ELEMENTS }], 3).window).toBe(1);
    const pooled = openEncodeThreads([{ elements: MAX_INLINE_ELEMENTS }, { elements: 1 }], 3);
    expect(pooled.window).toBeGreaterThanOrEqual(2);
    await pooled.close();
  });
});

describe('a file that does not stay as it was', () => {
  const sizes = [
    ['in the caller’s thread', { tensors: 5, elements: 20_000 }],
    ['in threads', LARGE],
  ] as const;

  /** Encodes while `harm` happens to the fine-tune as soon as a phase begins; the target must stay. */
  async function harmed(
    { tensors, elements }: { readonly tensors: number; readonly elements: number },
    mode: 'global' | 'tensor',
    phase: string,
    harm: (path: string) => void,
  ): Promise<CheckpointError> {
    const model = await modelOf(tensors, elements);
    const directory = await temporaryDirectory();
    const out = join(directory, 'payload');
    await writeFile(out, 'before');
    let done = false;
    const error: unknown = await encodeTaskVector(inputOf(model, { mode, threads: 2 }), out, {
      onProgress: (p) => {
        if (p.phase !== phase || done) return;
        done = true;
        harm(model.finetune.path);
      },
    }).then(
      () => expect.fail('it was encoded'),
      (reason: unknown) => reason,
    );
    expect(await readdir(directory)).toEqual(['payload']);
    expect(await readFile(out, 'utf8')).toBe('before');
    expect([descriptorsOf(model.base.path), descriptorsOf(model.finetune.path)]).toEqual([0, 0]);
    expect(error).toBeInstanceOf(CheckpointError);
    return error as CheckpointError;
  }

  test.each(sizes)('shorter: %s', async (_, size) => {
    for (const [mode, phase] of [
      ['global', 'measuring'],
      ['global', 'selecting'],
      ['global', 'encoding'],
      ['tensor', 'encoding'],
    ] as const) {
      const error = await harmed(size, mode, phase, (path) => truncateSync(path, 100));
      expect(error.code).toBe('FILE_CHANGED');
      expect(error.message).toMatch(/changed while it was read.*Run this again/);
    }
  });

  test.each(sizes)('with other values: %s', async (_, { tensors, elements }) => {
    const size = { tensors, elements };
    const error = await harmed(size, 'global', 'encoding', (path) => {
      writeFileSync(path, new Uint8Array(tensors * elements * dtypeBytes('BF16')));
    });
    expect(error.code).toBe('FILE_CHANGED');
    expect(error.message).toContain('Encode again when it is complete');
  });

  test.each(sizes)('gone before it was opened: %s', async (_, size) => {
    const error = await harmed(size, 'tensor', 'encoding', (path) => unlinkSync(path));
    expect(error.code).toBe('IO_FAILED');
    expect(error.message).toContain('put it back');
  });
});
