/** A process that takes one step with a warm engine: the clock runs from opening the update until the state has its name. */
import { residentMemory } from '../memory.ts';
import { type Backend, type FoldInput, type FoldReport, fold, openEngine, warmUp } from './subject.ts';

export interface FoldJob extends FoldInput {
  readonly backend: Backend;
  readonly workers: number;
}

export interface Folded extends FoldReport {
  readonly seconds: number;
  /** Of opening the engine, which a daemon does once. */
  readonly engineSeconds: number;
  /** The engine's own words: what it ran on. */
  readonly description: string;
  /** Resident bytes: with all modules loaded, before the engine is opened. */
  readonly loaded: number;
  /** Then with the engine open and warm, which is what a node has that waits for work; and at the peak. */
  readonly idle: number;
  readonly peak: number;
}

const job = JSON.parse(process.argv[2]!) as FoldJob;
const loaded = residentMemory().now;
const opening = performance.now();
const engine = await openEngine(job.backend, job.workers);
const engineSeconds = (performance.now() - opening) / 1000;
try {
  await warmUp(engine);
  const idle = residentMemory().now;
  const started = performance.now();
  const report = await fold(job, engine);
  const seconds = (performance.now() - started) / 1000;
  const { peak } = residentMemory();
  const { description } = engine;
  const result: Folded = { ...report, seconds, engineSeconds, description, loaded, idle, peak };
  process.stdout.write(JSON.stringify(result));
} finally {
  await engine.close();
}
