import { KinmergeError } from '../../errors.ts';
import { Kernel } from './kernel.ts';

/** Idle kernels that are kept: as many as payloads are usually compared at once. */
export const MAX_IDLE_KERNELS = 4;
/** A kernel whose memory has grown beyond this many bytes is not kept: memory of WebAssembly never shrinks. 64 MiB. */
export const MAX_IDLE_KERNEL_BYTES = 64 * 2 ** 20;

const idle: Kernel[] = [];

/**
 * A kernel for one piece of work. Kernels hold nothing between two pieces of work; they are kept only because a fresh
 * one costs about 0.2 ms. There are as many as pieces of work under way at once.
 */
export function withKernel<T>(work: (kernel: Kernel) => T): T {
  const kernel = idle.pop() ?? new Kernel();
  const keep = () => {
    if (idle.length < MAX_IDLE_KERNELS && kernel.bytes <= MAX_IDLE_KERNEL_BYTES) idle.push(kernel);
  };
  // After an error that is not ours, a trap say, nobody knows what state its memory is in.
  const keepAfter = (error: unknown) => {
    if (error instanceof KinmergeError) keep();
  };
  let result: T;
  try {
    result = work(kernel);
  } catch (error) {
    keepAfter(error);
    throw error;
  }
  if (!(result instanceof Promise)) {
    keep();
    return result;
  }
  result.then(keep, keepAfter);
  return result;
}
