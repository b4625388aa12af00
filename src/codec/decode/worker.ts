/** A thread of the dense decoder. */
import { parentPort, workerData } from 'node:worker_threads';
import { serveJobs } from '../../thread-pool.ts';
import { FileCache } from '../file-cache.ts';
import { Kernel } from '../kernel/kernel.ts';
import { type DecodeJob, runDecodeJob } from './jobs.ts';

const components = { kernel: new Kernel(workerData), files: new FileCache() };

serveJobs<DecodeJob, null>(parentPort!, (job) => {
  runDecodeJob(components, job);
  return { result: null };
});
