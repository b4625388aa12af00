import { parentPort, workerData } from 'node:worker_threads';
import type { Device } from '../../src/compute/index.ts';
import { mergeCalls } from './merge-calls.ts';
import { serveCalls } from './rpc.ts';

if (parentPort === null) throw new Error('this module runs as a worker thread');
const { calls, release } = mergeCalls(workerData as { charter: string; device: Device; workers: number });
serveCalls(parentPort, calls, release);
