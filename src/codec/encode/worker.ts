/** A thread of the encoder. */
import { parentPort } from 'node:worker_threads';
import { serveJobs } from '../../thread-pool.ts';
import { FileCache } from '../file-cache.ts';
import { Kernel } from '../kernel/kernel.ts';
import { type EncodeJob, type EncodeResult, runEncodeJob } from './jobs.ts';

const components = { kernel: new Kernel(), files: new FileCache() };

serveJobs<EncodeJob, EncodeResult>(parentPort!, (job) => ({ result: runEncodeJob(components, job) }));
