/** What the worker of rpc.test.ts answers. */

import { parentPort, workerData } from 'node:worker_threads';
import { NodeError } from '../../../node/errors.ts';
import { serveCalls } from '../../../node/work/rpc.ts';
import type { RunOptions } from '../../../src/run-options.ts';

export const calls = {
  async echo(value: unknown) {
    return value;
  },
  async data() {
    return workerData as unknown;
  },
  async fail(kind: 'typed' | 'plain' | 'string') {
    if (kind === 'typed') throw new NodeError('BLOB_INVALID', 'typed', { missing: 3, big: new Date(0) });
    if (kind === 'plain') throw new TypeError('plain');
    throw 'a string';
  },
  async hang(_: null, { signal }: RunOptions) {
    await new Promise((_resolve, reject) => {
      signal!.addEventListener('abort', () => reject(signal!.reason));
    });
  },
  async spin(ms: number) {
    const end = performance.now() + ms;
    while (performance.now() < end);
  },
  async progress(steps: number, { onProgress }: RunOptions) {
    for (let done = 0; done <= steps; done++) onProgress!({ phase: 'x', done, total: steps, unit: 'updates' });
  },
  async die(how: 'exit' | 'throw') {
    if (how === 'exit') process.exit(7);
    setImmediate(() => {
      throw new Error('out of the blue');
    });
    await new Promise(() => {});
  },
};
export type Calls = typeof calls;

if (parentPort !== null) serveCalls(parentPort, calls);
