import { resolve } from 'node:path';
import type { CID } from 'multiformats/cid';
import { DEFAULT_DENSITY, defaultSettings, type EncoderChoice, settingsOf } from '../../src/choose/index.ts';
import { writeFileDurably } from '../../src/durable.ts';
import type { AdmissionPolicy } from '../../src/kinship/index.ts';
import { policyForBase } from '../../src/kinship/index.ts';
import type { Charter, MergeRule } from '../../src/log/index.ts';
import { charterId, createCharter, encodeCharter } from '../../src/log/index.ts';
import type { RunOptions } from '../../src/run-options.ts';
import { describeBase } from '../base.ts';
import { NodeError } from '../errors.ts';
import { exists } from '../files.ts';
import { loadOrCreateKey } from '../home/keys.ts';
import type { HomePaths } from '../home/paths.ts';

/** What an author may publish unless the charter says otherwise. */
export const DEFAULT_BUDGET = { updates: 1_000, bytes: 64 * 2 ** 30 } as const;

export interface CreateOptions {
  readonly base: string;
  readonly name: string;
  readonly out: string;
  /** Anybody may contribute. Otherwise the creator is the only member. */
  readonly open: boolean;
  /** Names of the linear tensors; the default rule when left out. */
  readonly linear?: readonly string[] | undefined;
  readonly merge: MergeRule;
  readonly limits: Partial<AdmissionPolicy>;
  /** What contributors encode with; the defaults where left out. */
  readonly encoder?: EncoderChoice | undefined;
  readonly budgets: { readonly updates: number; readonly bytes: number };
  /** Public keys of who seals; the owner when left out. None: everything stays provisional, and nothing can be amended. */
  readonly sealers?: readonly Uint8Array[] | undefined;
}

/**
 * Makes a community: an owner key, the creator's author key, and the charter.
 *
 * @throws NodeError `OUT_EXISTS`; errors of the base, the policy and the charter
 */
export async function createCommunity(
  options: CreateOptions,
  components: { home: HomePaths },
  run: RunOptions = {},
): Promise<{ id: CID; charter: Charter; bytes: Uint8Array; out: string }> {
  const out = resolve(options.out);
  if (await exists(out)) throw new NodeError('OUT_EXISTS', `${out} exists: choose another --out`, { path: out });
  const base = await describeBase(options.base, options.linear, run);
  const owner = await loadOrCreateKey(components.home.ownerKey);
  const author = await loadOrCreateKey(components.home.authorKey);
  const admission = policyForBase(base.floats, options.limits);
  const defaults = defaultSettings(Math.min(DEFAULT_DENSITY, admission.maxDensity));
  const keys = options.sealers ?? [owner.publicKey];
  const charter = createCharter({
    name: options.name,
    owner: owner.publicKey,
    membership: options.open ? 'open' : [author.publicKey],
    sealers: { keys, threshold: keys.length === 0 ? 0 : 1 },
    budgets: options.budgets,
    admission,
    codec: { encoder: settingsOf(options.encoder ?? {}, defaults) },
    merge: options.merge,
    base: { sumSquares: base.sumSquares, tensors: base.tensors, sideFiles: base.sideFiles },
  });
  const bytes = encodeCharter(charter);
  await writeFileDurably(out, bytes);
  return { id: charterId(bytes), charter, bytes, out };
}
