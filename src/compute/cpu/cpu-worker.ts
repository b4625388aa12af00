/** The worker thread of the CPU engine: one job at a time, told apart from the next by the engine. */
import { setImmediate } from 'node:timers/promises';
import { parentPort, workerData } from 'node:worker_threads';
import { Buffers } from '../buffers.ts';
import { type EigensolverName, openEigensolver } from '../eigen/index.ts';
import { failureOf } from '../failures.ts';
import type { Pace } from '../pace.ts';
import { prepare, project } from '../projection/projection.ts';
import { CpuDevice } from './cpu-device.ts';
import { CONTROL, type FromWorker, type ToWorker } from './messages.ts';

class Cancelled extends Error {}

const port = parentPort!;
const buffers = new Buffers();
const device = new CpuDevice({}, { buffers });
const components = { buffers, device, eigensolver: openEigensolver(workerData as EigensolverName) };

port.on('message', async (message: ToWorker) => {
  if (message.kind === 'close') {
    port.close();
    return;
  }
  const { job, control } = message;
  const pace: Pace = {
    async pause() {
      await setImmediate();
      if (Atomics.load(control, CONTROL.cancelled) !== 0) throw new Cancelled();
    },
    interruptible(work) {
      allowTermination(control, true);
      const result = work();
      allowTermination(control, false);
      return result;
    },
  };
  try {
    await pace.pause();
    const work = message.kind === 'project' ? project : prepare;
    const result = await work(job, { ...components, pace });
    const vectors = 'decomposition' in result ? [result.decomposition.vectors.buffer] : [];
    if ('right' in result && result.right !== undefined) vectors.push(result.right.buffer);
    reply({ kind: 'done', result }, [result.sum.buffer, result.update.buffer, ...vectors]);
  } catch (error) {
    buffers.reset();
    reply(error instanceof Cancelled ? { kind: 'cancelled' } : { kind: 'failed', ...failureOf(error) });
  } finally {
    allowTermination(control, true);
  }
});

function allowTermination(control: Int32Array<SharedArrayBuffer>, allowed: boolean): void {
  Atomics.store(control, CONTROL.interruptible, allowed ? 1 : 0);
  Atomics.notify(control, CONTROL.interruptible);
}

function reply(message: FromWorker, transfer: ArrayBuffer[] = []): void {
  port.postMessage(message, transfer);
}
