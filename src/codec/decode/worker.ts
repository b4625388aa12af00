/** A thread of the dense decoder. */
import { parentPort, workerData } from 'node:worker_threads';
import { serveJobs } from '../../thread-pool.ts';
import { FileCache, PAYLOAD_FILE_ERRORS } from '../file-cache.ts';
import { Kernel } from '../kernel/kernel.ts';
import { type DecodeJob, runDecodeJob } from './jobs.ts';

const components = { kernel: new Kernel(workerData), files: new FileCache(PAYLOAD_FILE_ERRORS) };

serveJobs<DecodeJob, null>(parentPort!, (job) => {
  runDecodeJob(components, job);
  return { result: null };
});
