/**
 * Encodes a model of so many equal tensors, all stored at one place of a file, and prints the peak of its resident
 * memory in KiB. Arguments: mode, number of tensors, elements of each, base file, fine-tune file, target.
 */
import { encodeTaskVector, type FloatSource, type ScaleMode, tableOf } from '../../../src/codec/index.ts';

const [mode, count, size, base, tune, out] = process.argv.slice(2) as [
  ScaleMode,
  string,
  string,
  string,
  string,
  string,
];
const elements = Number(size);

function source(path: string): FloatSource {
  const names = Array.from({ length: Number(count) }, (_, i) => `t${String(i).padStart(3, '0')}`);
  return {
    tensors: new Map(names.map((name) => [name, { name, dtype: 'BF16', shape: [elements], elements }])),
    place: () => ({ path, offset: 0, byteLength: 2 * elements, dtype: 'BF16' }),
  };
}

const input = { base: source(base), finetune: source(tune), table: tableOf(source(base)), threads: 2 };
await encodeTaskVector({ ...input, mode, density: 0.2, scaleUnit: 'magnitude', scaleFactor: 2 }, out);
process.stdout.write(String(process.resourceUsage().maxRSS));
