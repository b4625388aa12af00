/** The real worker, which dies when it is given a matrix of one row. */
import { parentPort } from 'node:worker_threads';
import '../../../src/compute/cpu/cpu-worker.ts';

// The worker's own listener runs first, and waits before it begins: this one is in time.
parentPort!.on('message', (message: { job?: { rows: number } }) => {
  if (message.job?.rows === 1) process.exit(1);
});
