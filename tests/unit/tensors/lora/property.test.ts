import fc from 'fast-check';
import { expect, test } from 'vitest';
import { KinmergeError } from '../../../../src/errors.ts';
import { parseLoraConfig } from '../../../../src/tensors/index.ts';
import { factorFault, placeFactors } from '../../../../src/tensors/lora/factors.ts';
import { parseAdapterKey } from '../../../../src/tensors/lora/names.ts';
import { multiply } from '../../../../src/tensors/lora/product.ts';

const VALID = JSON.stringify({
  peft_type: 'LORA',
  r: 16,
  lora_alpha: 32,
  rank_pattern: { 'layers.1.q_proj': 8 },
  alpha_pattern: { k_proj: 4.5 },
  use_rslora: true,
  fan_in_fan_out: false,
  bias: 'none',
  init_lora_weights: 'gaussian',
  loftq_config: {},
  target_modules: ['q_proj', 'k_proj'],
});

test('damaged configurations are read or refused with a code, never worse', () => {
  const edit = fc.record({ at: fc.nat(VALID.length), remove: fc.nat(6), insert: fc.uint8Array({ maxLength: 6 }) });
  fc.assert(
    fc.property(fc.array(edit, { minLength: 1, maxLength: 4 }), (edits) => {
      let bytes = Buffer.from(VALID);
      for (const { at, remove, insert } of edits) {
        bytes = Buffer.concat([bytes.subarray(0, at), insert, bytes.subarray(at + remove)]);
      }
      try {
        const config = parseLoraConfig(bytes, 'x');
        expect(Number.isSafeInteger(config.rank) && config.rank > 0 && Number.isFinite(config.alpha)).toBe(true);
      } catch (error) {
        if (!(error instanceof KinmergeError)) throw error;
      }
    }),
    { numRuns: 5_000 },
  );
});

test('any name is a factor, a whole tensor or refused', () => {
  const part = fc.constantFrom(
    'lora_A',
    'lora_B',
    'weight',
    'default',
    'base_layer',
    'modules_to_save',
    'lora_x',
    '',
    'q',
  );
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        fc.array(part).map((parts) => parts.join('.')),
      ),
      (name) => {
        expect(['factor', 'full', 'unsupported']).toContain(parseAdapterKey(name).kind);
      },
    ),
  );
});

test('factors of every shape and orientation multiply to what PEFT adds to the weight', async () => {
  const size = fc.integer({ min: 1, max: 6 });
  const shape = fc.record({ outputs: size, inputs: size, kernel: fc.array(size, { maxLength: 2 }), rank: size });
  const layout = fc.record({ embedding: fc.boolean(), flag: fc.boolean(), seed: fc.integer() });
  await fc.assert(
    fc.asyncProperty(shape, layout, async ({ outputs, inputs, kernel, rank }, { embedding, flag, seed }) => {
      const dims = embedding ? [] : kernel;
      const info = (name: string, form: number[]) => {
        const elements = form.reduce((a, b) => a * b, 1);
        return { name, dtype: 'F32' as const, shape: form, elements, byteLength: 4 * elements };
      };
      const a = info('a', [rank, inputs, ...dims]);
      const b = info('b', [outputs, rank, ...dims.map(() => 1)]);
      const module = { module: 'm', embedding, a, b };
      expect(factorFault(module)).toBeUndefined();
      const flipped = embedding || (dims.length === 0 && flag);
      const target = flipped ? [inputs, outputs] : [outputs, inputs, ...dims];
      const placement = placeFactors(module, target, flag);
      if (placement.kind !== 'placed') throw new Error('not placed');
      const values = (count: number, salt: number) =>
        Float32Array.from({ length: count }, (_, i) => (((seed % 1009) + salt * 31 + i * 17) % 23) / 4);
      const [A, B] = [values(a.elements, 1), values(b.elements, 2)];
      const { factors } = placement;
      const oriented = (stored: Float32Array, factor: typeof factors.left) =>
        Float32Array.from(stored, (_, i) => {
          const [row, column] = [Math.floor(i / factor.columns), i % factor.columns];
          return stored[factor.transposed ? column * factor.rows + row : i]!;
        });
      const [left, right] = [factors.left, factors.right].map((f) => oriented(f.tensor === 'a' ? A : B, f));
      const delta = await multiply({ ...factors, scaling: 0.5 }, left!, right!);

      const width = inputs * dims.reduce((x, y) => x * y, 1);
      for (let o = 0; o < outputs; o++) {
        for (let i = 0; i < width; i++) {
          let sum = 0;
          for (let k = 0; k < rank; k++) sum += B[o * rank + k]! * A[k * width + i]!;
          expect(delta[flipped ? i * outputs + o : o * width + i]).toBe(Math.fround(0.5 * sum));
        }
      }
    }),
    { numRuns: 300 },
  );
});
