import type { Command } from 'commander';
import type { Register } from '../context.ts';
import { communityVerbs } from './community.ts';
import { contributeVerb } from './contribute.ts';
import { daemonVerb } from './daemon.ts';
import { joinVerb } from './join.ts';
import { offlineVerbs } from './offline/index.ts';
import { peersVerb } from './peers.ts';
import { pullVerb } from './pull.ts';
import { statusVerb } from './status.ts';
import { updateVerbs } from './updates.ts';
import { verifyVerb } from './verify.ts';

/** Every verb of the command line, in the order of `--help`. */
export const verbs: readonly ((program: Command, register: Register) => void)[] = [
  communityVerbs,
  joinVerb,
  daemonVerb,
  contributeVerb,
  pullVerb,
  verifyVerb,
  statusVerb,
  peersVerb,
  updateVerbs,
  ...offlineVerbs,
];
