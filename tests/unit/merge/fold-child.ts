/** One fold step in a process of its own that says when tensors are done: `FROM TO BASE UPDATE`, for a test that kills it. */
import { createEngine } from '../../../src/compute/index.ts';
import { foldStep, foldTensors, openTaskVector } from '../../../src/merge/index.ts';
import { openCheckpoint } from '../../../src/tensors/index.ts';

const [from, to, basePath, updatePath] = process.argv.slice(2) as [string, string, string, string];
const base = await openCheckpoint(basePath);
const tensors = foldTensors(base, null);
const update = await openTaskVector(updatePath, base, tensors);
const engine = await createEngine({ device: 'cpu', workers: 1 });
await foldStep(
  { from, to, tensors, update, rule: { variant: 'ref', alpha: 0.5 }, engine },
  { onProgress: ({ done, total }) => process.stdout.write(`${done}/${total}\n`) },
);
process.stdout.write('folded\n');
await engine.close();
