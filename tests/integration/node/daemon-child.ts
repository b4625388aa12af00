/**
 * The command line as it is, in a process that watches its own event loop and tells of it when asked: a message
 * `'read'` is answered with the percentiles since the last one.
 */
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { main } from '../../../node/cli/main.ts';

/** In milliseconds; as the histogram counts, the sampling interval of 5 ms is part of every value. */
export interface LoopDelay {
  readonly samples: number;
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
}

const delay = monitorEventLoopDelay({ resolution: 5 });
delay.enable();
process.on('message', () => {
  const { count, max } = delay;
  const [p50, p99] = [50, 99].map((percent) => delay.percentile(percent) / 1e6) as [number, number];
  delay.reset();
  process.send!({ samples: count, p50, p99, max: max / 1e6 } satisfies LoopDelay);
});
process.exitCode = await main(process.argv.slice(2));
process.disconnect();
