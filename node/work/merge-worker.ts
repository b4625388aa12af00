import { parentPort, workerData } from 'node:worker_threads';
import { type MergeWorkerData, mergeCalls } from './merge-calls.ts';
import { serveCalls } from './rpc.ts';

if (parentPort === null) throw new Error('this module runs as a worker thread');
const { calls, release } = mergeCalls(workerData as MergeWorkerData);
serveCalls(parentPort, calls, release);
