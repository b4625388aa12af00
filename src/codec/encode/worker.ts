/** A thread of the encoder. */
import { parentPort, workerData } from 'node:worker_threads';
import { serveJobs } from '../../thread-pool.ts';
import { FileCache } from '../file-cache.ts';
import { Kernel } from '../kernel/kernel.ts';
import { type EncodeJob, type EncodeResult, runEncodeJob } from './jobs.ts';

const components = { kernel: new Kernel(workerData), files: new FileCache() };

serveJobs<EncodeJob, EncodeResult>(parentPort!, (job) => {
  const result = runEncodeJob(components, job);
  return { result, transfer: arraysOf(result).map(({ buffer }) => buffer as ArrayBuffer) };
});

/** What of a result is handed over instead of copied: fresh arrays of this thread. */
function arraysOf(result: EncodeResult): (Uint8Array | Uint32Array)[] {
  if (typeof result === 'number') return [];
  if ('upper' in result) return [result.upper];
  if ('lower' in result) return [result.lower];
  return result.section === null ? [] : [result.section.code];
}
