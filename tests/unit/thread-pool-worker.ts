/** A thread for tests: does what its job says. */
import { parentPort } from 'node:worker_threads';
import { KinmergeError } from '../../src/errors.ts';
import { serveJobs } from '../../src/thread-pool.ts';

export type TestJob =
  | { readonly kind: 'double'; readonly value: number }
  | { readonly kind: 'hand over'; readonly bytes: number }
  | { readonly kind: 'count'; readonly done: Int32Array<SharedArrayBuffer> }
  | { readonly kind: 'block' }
  | { readonly kind: 'die' }
  | { readonly kind: 'throw coded' }
  | { readonly kind: 'throw plain' };

class TestError extends KinmergeError {}

serveJobs<TestJob, number | Uint8Array<ArrayBuffer>>(parentPort!, (job) => {
  switch (job.kind) {
    case 'double':
      return { result: 2 * job.value };
    case 'hand over': {
      const result = new Uint8Array(job.bytes).fill(7);
      return { result, transfer: [result.buffer] };
    }
    case 'count':
      Atomics.add(job.done, 0, 1);
      Atomics.notify(job.done, 0);
      return { result: 0 };
    case 'block':
      for (;;);
    case 'die':
      process.exit(3);
      break;
    case 'throw coded':
      throw new TestError('TEST_CODE', 'It went wrong. Try another.', { where: 5 });
    case 'throw plain':
      throw new RangeError('out of something');
  }
});
