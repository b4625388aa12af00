/** Lets a child process watch its own event loop; run by itself it is a process that does nothing else. */
import { monitorEventLoopDelay } from 'node:perf_hooks';

/** In milliseconds; as the histogram counts, the sampling interval of 5 ms is part of every value. */
export interface LoopDelay {
  readonly samples: number;
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
}

const delay = monitorEventLoopDelay({ resolution: 5 });
delay.enable();
// Any message is answered with what was seen since the last one.
process.on('message', () => {
  const { count, max } = delay;
  const [p50, p99] = [50, 99].map((percent) => delay.percentile(percent) / 1e6) as [number, number];
  delay.reset();
  process.send!({ samples: count, p50, p99, max: max / 1e6 } satisfies LoopDelay);
});
