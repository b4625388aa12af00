import { setFlagsFromString } from 'node:v8';

const FLAG = '--semi-space-growth-factor';
/** V8's own value. */
const USUAL_FACTOR = 2;

/**
 * Keeps the young generation of the heap as small as it is until the returned function is called. Reading and deciding a long
 * log makes much that is garbage at once: a young generation that grows to its most holds tens of megabytes of it, and a
 * small one is collected as fast (measured with 10,000 records). The setting is the process's: of two that overlap, the first
 * to end ends both.
 */
export function holdYoungGeneration(): () => void {
  setFlagsFromString(`${FLAG}=1`);
  return () => setFlagsFromString(`${FLAG}=${USUAL_FACTOR}`);
}
