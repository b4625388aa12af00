/** The worker thread of the CPU engine: one job at a time, told apart from the next by the engine. */
import { setImmediate } from 'node:timers/promises';
import { parentPort } from 'node:worker_threads';
import { KinmergeError } from '../errors.ts';
import { createCpuKernels } from './kernels.ts';
import type { FromWorker, ToWorker } from './messages.ts';
import { project } from './projection.ts';

class Cancelled extends Error {}

const port = parentPort!;
const kernels = createCpuKernels();

port.on('message', async (message: ToWorker) => {
  if (message.kind === 'close') {
    port.close();
    return;
  }
  const { job, cancelled } = message;
  const pause = async (): Promise<void> => {
    await setImmediate();
    if (Atomics.load(cancelled, 0) !== 0) throw new Cancelled();
  };
  try {
    await pause();
    const result = await project(job, kernels, pause);
    reply({ kind: 'done', result }, [result.sum.buffer, result.update.buffer]);
  } catch (error) {
    if (error instanceof Cancelled) {
      reply({ kind: 'cancelled' });
    } else if (error instanceof KinmergeError) {
      reply({ kind: 'failed', code: error.code, message: error.message, fields: error.fields });
    } else {
      reply({ kind: 'failed', code: '', message: String(error), fields: {} });
    }
  }
});

function reply(message: FromWorker, transfer: ArrayBuffer[] = []): void {
  port.postMessage(message, transfer);
}
