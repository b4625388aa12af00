import fc from 'fast-check';
import { expect, test } from 'vitest';
import { containerHead } from '../../src/codec/container-format.ts';
import { CodecError, denseTensors, MAX_TENSOR_ELEMENTS, openContainer } from '../../src/codec/index.ts';
import { tableOfShapes } from '../unit/codec/support.ts';
import { attempt, judge, judgeClaims } from './support/payload-judge.ts';
import { fields, mutate, mutations, samples, table } from './support/payload-samples.ts';
import { FUZZ_TIMEOUT, fuzzer } from './support/runs.ts';

const fuzz = fuzzer('payloads', 23);

test(
  'mutated payloads give a CodecError or a sound payload',
  async () => {
    const inputs = fc.tuple(fc.constantFrom(...samples), mutations);
    const verdicts = await fuzz.run(0.35, inputs, ([bytes, changes]) => judge(mutate(bytes, changes), table));
    verdicts.expectAll(['sound', 'BAD_COUNT', 'BAD_SECTION_LENGTH', 'TRUNCATED', 'BAD_MAGIC', 'INDEX_ORDER']);
  },
  FUZZ_TIMEOUT,
);

test(
  'payloads written field by field give a CodecError or a sound payload',
  async () => {
    const verdicts = await fuzz.run(0.25, fields, (bytes) => judge(bytes, table));
    verdicts.expectAll(['BAD_COUNT', 'BAD_MODEL', 'BAD_SCALE', 'BAD_SECTION_LENGTH', 'BAD_VARINT', 'sound']);
  },
  FUZZ_TIMEOUT,
);

test(
  'random bytes behind a good header give a CodecError or a sound payload',
  async () => {
    const inputs = fc.tuple(fc.constantFrom(0, 1), fc.integer({ min: 0, max: 8 }), fc.uint8Array({ maxLength: 60 }));
    await fuzz.run(0.05, inputs, ([flags, count, rest]) => {
      const scale = flags === 0 && count > 0 ? [0, 0, 0, 63] : [];
      return judge(Uint8Array.from([...Buffer.from('KMTV'), 1, flags, count, 0, 0, 0, ...scale, ...rest]), table);
    });
  },
  FUZZ_TIMEOUT,
);

/** A payload of one section after the global scale 0.5. */
function single(section: readonly number[]): Uint8Array {
  return Uint8Array.from([...Buffer.from('KMTV'), 1, 0, 1, 0, 0, 0, 0, 0, 0, 63, ...section]);
}

test(
  'random code of coding 1 gives a CodecError or a sound payload',
  async () => {
    const inputs = fc.tuple(
      fc.constantFrom([3, 0], [3, 30], [3, 90], [5, 0], [5, 16], [5, 32], [7, 0], [7, 16], [7, 28]),
      fc.integer({ min: 1, max: 255 }),
      fc.integer({ min: 1, max: 112 }),
      fc.uint8Array({ minLength: 4, maxLength: 28 }),
    );
    const verdicts = await fuzz.run(0.12, inputs, ([[index, width], priors, nnz, code]) => {
      // A first byte of 1 to 127 makes a state in range.
      code[0] = 1 + (code[0]! % 127);
      const model = width === 0 ? [0] : [width!, priors];
      return judge(single([index!, nnz, 1, ...model, code.length, ...code]), table);
    });
    verdicts.expectAll(['BAD_COUNT', 'BAD_SECTION_LENGTH']);
  },
  FUZZ_TIMEOUT,
);

test(
  'random factors of coding 2 give a CodecError or a sound payload',
  async () => {
    const code = fc.uint8Array({ minLength: 1, maxLength: 6 });
    const inputs = fc.tuple(
      fc.constantFrom([3, 30], [3, 15], [5, 2], [7, 7], [7, 16]),
      fc.integer({ min: 0, max: 8 }),
      fc.tuple(fc.integer({ min: 1, max: 12 }), fc.integer({ min: 1, max: 12 })),
      fc.tuple(code, code),
    );
    const verdicts = await fuzz.run(0.1, inputs, ([[index, rows], rank, [nnzLeft, nnzRight], [left, right]]) => {
      const factors = [0, 2, left.length, nnzRight, 0, 3, right.length, ...left, ...right];
      return judge(single([index!, nnzLeft, 2, rows!, rank, ...factors]), table);
    });
    verdicts.expectAll(['BAD_FACTORS', 'BAD_COUNT', 'BAD_SECTION_LENGTH']);
  },
  FUZZ_TIMEOUT,
);

test(
  'what headers claim of a table of huge tensors takes no memory',
  async () => {
    const most = MAX_TENSOR_ELEMENTS;
    const huge = tableOfShapes([most], [46_340, 46_341], [2 ** 22, 256], [2 ** 29], [2 ** 28], [most], [most], [1]);
    const inputs = fc.oneof(
      fields,
      fc.tuple(fc.constantFrom(...samples), mutations).map(([bytes, changes]) => mutate(bytes, changes)),
    );
    const verdicts = await fuzz.run(0.08, inputs, (bytes) => judgeClaims(bytes, huge));
    verdicts.expectAll(['TRUNCATED', 'BAD_SECTION_LENGTH', 'sound']);
  },
  FUZZ_TIMEOUT,
);

test(
  'mutated containers give a CodecError or open',
  async () => {
    const settings = { mode: 'global', density: 0.2, scaleUnit: 'deviation', scaleFactor: 4 } as const;
    const head = containerHead(table, settings);
    // Small payloads, so that more than half of the bytes are the container's.
    const good = [samples[3]!, samples[5]!, samples[9]!].map((sample) => new Uint8Array(Buffer.concat([head, sample])));
    await fuzz.run(0.05, fc.tuple(fc.constantFrom(...good), mutations), async ([bytes, changes]) => {
      const mutated = mutate(bytes, changes);
      // Names, shapes and numbers: a table may be a hundred times its text. Its tensors are decoded where they are small.
      const opened = await attempt(2 ** 20 + 16 * mutated.length, () => openContainer(mutated));
      if (opened instanceof CodecError) return opened.code;
      const elements = opened.payload.sections.reduce((sum, section) => sum + section.elements, 0);
      if (elements > 2 ** 22) return 'opened';
      const memory = 2 ** 23 + 2 * mutated.length;
      const checked = await attempt(memory + elements / 2, () => opened.check());
      const dense = await attempt(memory + 5 * elements, async () => {
        let tensors = 0;
        for await (const { values } of denseTensors(opened.payload)) {
          expect(values.length).toBeGreaterThan(0);
          tensors++;
        }
        return tensors;
      });
      if (dense instanceof CodecError) expect(checked).toMatchObject({ code: dense.code });
      else expect(dense).toBe(opened.payload.sections.length);
      return checked instanceof CodecError ? checked.code : 'sound';
    });
  },
  FUZZ_TIMEOUT,
);
