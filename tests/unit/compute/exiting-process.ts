/** Starts a product of a second, and leaves the process some milliseconds into it: `MILLISECONDS`. */
import { createEngine } from '../../../src/compute/index.ts';
import { gaussian32 } from './random.ts';

const engine = await createEngine({ device: 'cpu', workers: 1 });
const rule = { variant: 'ref', alpha: 0.5 } as const;
await engine.project({ sum: gaussian32(16, 1), update: gaussian32(16, 2), rows: 4, columns: 4, rule });
const [rows, columns] = [1500, 2000];
const sum = new Float32Array(rows * columns).map((_, i) => Math.sin(i));
const running = engine.project({ sum, update: sum.slice(), rows, columns, rule });
running.catch(() => undefined);
setTimeout(() => process.exit(7), Number(process.argv[2]));
