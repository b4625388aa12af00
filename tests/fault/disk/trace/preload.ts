/**
 * Preloaded into a process of the node (`node --import`) and, inherited, into its worker threads: everything that
 * changes files below the given directories is written to a trace, and the process kills itself where the test says.
 * The native libraries (the matrix runtime, LAPACK) write no files there.
 */
import { syncBuiltinESMExports } from 'node:module';
import { TRACE_VARIABLE, type TraceOptions } from './format.ts';
import { tracePromises } from './promises.ts';
import { traceStreams } from './streams.ts';
import { Tracer } from './tracer.ts';

const text = process.env[TRACE_VARIABLE];
if (text !== undefined) {
  const tracer = new Tracer(JSON.parse(text) as TraceOptions);
  await tracePromises(tracer);
  traceStreams(tracer);
  syncBuiltinESMExports();
}
