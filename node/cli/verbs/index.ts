import type { VerbGroup } from '../context.ts';
import { offlineVerbs } from './offline/index.ts';

/** Every verb of the command line, in the order of `--help`. Each is loaded when it is wanted: libp2p alone takes a second. */
export const verbGroups: readonly VerbGroup[] = [
  { words: ['community'], load: async () => (await import('./community.ts')).communityVerbs },
  { words: ['join'], load: async () => (await import('./join.ts')).joinVerb },
  { words: ['daemon'], load: async () => (await import('./daemon.ts')).daemonVerb },
  { words: ['contribute'], load: async () => (await import('./contribute.ts')).contributeVerb },
  { words: ['pull'], load: async () => (await import('./pull.ts')).pullVerb },
  { words: ['verify'], load: async () => (await import('./verify.ts')).verifyVerb },
  { words: ['status'], load: async () => (await import('./status.ts')).statusVerb },
  { words: ['peers'], load: async () => (await import('./peers.ts')).peersVerb },
  { words: ['log', 'show', 'why'], load: async () => (await import('./updates.ts')).updateVerbs },
  { words: ['seal'], load: async () => (await import('./seal.ts')).sealVerb },
  { words: ['revoke'], load: async () => (await import('./revoke.ts')).revokeVerb },
  { words: ['member'], load: async () => (await import('./member.ts')).memberVerbs },
  { words: ['policy'], load: async () => (await import('./policy.ts')).policyVerbs },
  ...offlineVerbs,
];
