import { parentPort, workerData } from 'node:worker_threads';
import { payloadCalls } from './payload-calls.ts';
import { serveCalls } from './rpc.ts';

if (parentPort === null) throw new Error('this module runs as a worker thread');
serveCalls(parentPort, payloadCalls(workerData as { charter: string }));
