import type { CID } from 'multiformats/cid';
import { Historian, type History } from '../../src/history/index.ts';
import type { Charter, Log } from '../../src/log/index.ts';
import type { RunOptions } from '../../src/run-options.ts';
import type { Judge } from './judge.ts';

/** What follows from what a node holds: the same at every node that holds the same. */
export type View = History;

/** Derives the view of a log once, replaying every seal that it knows. */
export async function deriveView(
  options: { charter: Charter; charterId: CID },
  components: { log: Log; judge: Pick<Judge, 'decide'> },
  run: RunOptions = {},
): Promise<View> {
  const { log, judge } = components;
  const decide: Judge['decide'] = (steps, decideOptions) => judge.decide(steps, decideOptions);
  return new Historian(options, { log, seals: log.seals, decide }).derive(run);
}
