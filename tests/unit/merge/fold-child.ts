/** Folds vision8's second expert into a state, and says when tensors are done: `FROM TO`, for a test that kills it. */
import { createEngine } from '../../../src/compute/index.ts';
import { foldStep, foldTensors, openTaskVector } from '../../../src/merge/index.ts';
import { openCheckpoint } from '../../../src/tensors/index.ts';

const [from, to] = process.argv.slice(2) as [string, string];
const vision8 = new URL('../../fixtures/vision8/', import.meta.url).pathname;
const base = await openCheckpoint(`${vision8}base.safetensors`);
const tensors = foldTensors(base, null);
const update = await openTaskVector(`${vision8}expert-kmnist.safetensors`, base, tensors);
const engine = await createEngine({ device: 'cpu', workers: 1 });
await foldStep(
  { from, to, tensors, update, rule: { variant: 'ref', alpha: 0.5 }, engine },
  { onProgress: ({ done, total }) => process.stdout.write(`${done}/${total}\n`) },
);
process.stdout.write('folded\n');
await engine.close();
