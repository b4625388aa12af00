import type { Choice, EvaluationPaths, FinetuneInput } from '../../src/choose/index.ts';
import type { AlignPolicy, EncoderSettings, TensorDifference } from '../../src/codec/index.ts';
import type { EigensolverStatus, MatrixEngine } from '../../src/compute/index.ts';
import type { GateResult } from '../../src/kinship/index.ts';
import type { ChangesDocument } from './describe-record.ts';

/*
 * What a node tells about itself: the documents of the control API and of the verbs' --json. Ids are CIDs in base32,
 * keys are multibase `z6Mk…`, times are milliseconds since the epoch, sizes are bytes.
 */

/** Waiting updates that the status lists: enough to see the reason, however many wait. */
export const MAX_LISTED_WAITING = 20;

export interface StatusDocument {
  readonly version: string;
  readonly community: { readonly id: string; readonly name: string; readonly membership: 'open' | 'members' };
  /** `null` without a running daemon. */
  readonly daemon: {
    readonly pid: number;
    readonly peerId: string;
    readonly addresses: readonly string[];
    readonly join: readonly string[];
  } | null;
  readonly author: string;
  readonly peers: number;
  readonly log: {
    readonly held: number;
    readonly pending: number;
    readonly accepted: number;
    readonly declined: number;
  };
  /** What waits and for what, the oldest first; at most `MAX_LISTED_WAITING`. */
  readonly waiting: readonly WaitingDocument[];
  /** The current recipe; `provisional` unless it is what the last seal makes final. */
  readonly recipe: { readonly id: string; readonly updates: number; readonly provisional: boolean };
  /** The last applied seal and what it makes final; null while nothing is sealed. */
  readonly sealed: SealedDocument | null;
  /** The rules in effect. */
  readonly rules: {
    /** Amendments in effect. */
    readonly amendment: number;
    /** Amendments that are held and come into effect at a later seal. */
    readonly pending: number;
    readonly sealers: { readonly keys: readonly string[]; readonly threshold: number };
  };
  /** Admission has not caught up with the log: counts and recipe are those of the last time it had. */
  readonly deciding: boolean;
  /** `updates` of `target` folded so far; `null` when the fold is up to date. */
  readonly folding: { readonly updates: number; readonly target: number } | null;
  /** The newest merged checkpoint on disk. */
  readonly checkpoint: { readonly recipe: string; readonly path: string } | null;
  /** Why the fold stands still, when it failed. */
  readonly problem: { readonly code: string; readonly message: string } | null;
  /** What does the matrix work; `null` without a running daemon, and until its engine has started. */
  readonly device: string | null;
  /** What solves its eigenproblems; without a running daemon, what would. */
  readonly eigensolver: EigensolverStatus | null;
}

export interface WaitingDocument {
  readonly update: string;
  readonly waitsFor: readonly string[];
  /** Tries to fetch its payload that did not bring all of it. */
  readonly tries: number;
  /** When the next one may begin; `null` while one is under way, when nothing was tried yet, and without a daemon. */
  readonly nextTry: number | null;
  /** Why the last one failed. */
  readonly lastError: { readonly code: string; readonly message: string } | null;
}

export interface SealedDocument {
  readonly number: number;
  readonly seal: string;
  readonly recipe: string;
  readonly updates: number;
  /** Records up to the seal, and after it. */
  readonly records: number;
  readonly tail: number;
  /** `adopted, not replayed`: decisions are the sealers', and not recomputed here yet. */
  readonly state: 'replayed' | 'adopted, not replayed';
}

/** What a node's fold runs on. */
export type EngineStatus = Pick<MatrixEngine, 'device' | 'description' | 'eigensolver'>;

export interface PeerDocument {
  readonly id: string;
  readonly addresses: readonly string[];
  readonly connected: boolean;
  readonly lastSeen: number | null;
  /** What the peer last said its recipe is, signed by it. */
  readonly head: { readonly recipe: string; readonly accepted: number; readonly held: number } | null;
}

/** One record of the log: an update, or what takes one out, or what changes the rules. */
export interface UpdateDocument {
  readonly id: string;
  readonly kind: 'update' | 'revocation' | 'amendment';
  readonly state: 'held' | 'pending';
  /** Why it is pending. */
  readonly waitsFor: readonly string[];
  readonly author: string;
  readonly seq: number;
  readonly parents: readonly string[];
  /** Of an update; as everything that follows of a payload. */
  readonly payload: string | null;
  /** What a revocation takes out. */
  readonly target: string | null;
  readonly amendment: { readonly number: number; readonly changes: ChangesDocument } | null;
  readonly payloadBytes: number | null;
  readonly recordBytes: number;
  readonly title: string;
  readonly license: string;
  readonly note: string;
  /** Place in the canonical order, from 0. */
  readonly position: number | null;
  /** `none` for a record that is no update. */
  readonly verdict: 'accepted' | 'declined' | 'undecided' | 'none';
  /** The gate that declined it. */
  readonly gate: string | null;
  /** A revocation took it out: it is no part of the model, whatever the verdict was. */
  readonly takenOut: boolean;
  /** The revocation that names it, also before it has an effect. */
  readonly revocation: string | null;
  /** Number of the seal that makes order and verdict final; null while none does. */
  readonly epoch: number | null;
  readonly provisional: boolean;
  /** Admission has not caught up with the log: position and verdict are those of the last time it had. */
  readonly deciding: boolean;
  /** Coded entries / elements of the whole base; of a low-rank update those of its factors. */
  readonly density: number | null;
  readonly norm: number | null;
}

export interface WhyDocument {
  readonly update: string;
  /** Only updates meet gates. */
  readonly kind: UpdateDocument['kind'];
  readonly verdict: UpdateDocument['verdict'];
  readonly gate: string | null;
  readonly takenOut: boolean;
  readonly revocation: string | null;
  readonly epoch: number | null;
  readonly provisional: boolean;
  /** Admission has not caught up with the log: the verdict is that of the last time it had. */
  readonly deciding: boolean;
  readonly gates: readonly GateResult[];
}

export interface ContributeRequest {
  readonly finetune: string;
  /** What to encode with; the rest is the charter's. */
  readonly choice?: FinetuneInput['choice'] | undefined;
  /** What `auto` density chooses by. Paths are absolute. */
  readonly evaluation?: EvaluationPaths | undefined;
  /** What may differ between base and fine-tune. */
  readonly align?: AlignPolicy | undefined;
  readonly title?: string | undefined;
  readonly license?: string | undefined;
  readonly note?: string | undefined;
  /** Sign and send it although the own node declines it. */
  readonly force?: boolean | undefined;
  /** Stop after admission on the own node. */
  readonly dryRun?: boolean | undefined;
}

export interface ContributeDocument {
  /** `null` after a dry run. */
  readonly update: string | null;
  readonly payload: string;
  readonly bytes: { readonly record: number; readonly payload: number; readonly bound: number; readonly fp16: number };
  /** Entries of the update as a share of what they were chosen from. */
  readonly density: number;
  /** Tensors that travel as two factors, as those of a LoRA adapter do. */
  readonly lowRank: number;
  readonly settings: EncoderSettings;
  /** How the settings were chosen, where that was asked for. */
  readonly choice: Choice | null;
  /** Differences between base and fine-tune that were let pass. */
  readonly notes: readonly TensorDifference[];
  readonly verdict: 'accepted' | 'declined';
  readonly gate: string | null;
  readonly provisional: boolean;
  readonly gates: readonly GateResult[];
}

/** The rules that amendments can change. Keys are multibase `z6Mk…`. */
export interface RuleSections {
  readonly membership: { readonly open: boolean; readonly members: readonly string[] };
  readonly budgets: { readonly updates: number; readonly bytes: number };
  readonly admission: NonNullable<ChangesDocument['admission']>;
  readonly sealers: { readonly keys: readonly string[]; readonly threshold: number };
}

/** The rules in effect. */
export interface RulesDocument extends RuleSections {
  /** Number of the last amendment in effect; 0 for the charter as it is. */
  readonly amendment: number;
  readonly owner: string;
  /** As the charter was written. */
  readonly charter: RuleSections;
  /** Amendments that come into effect at the next seal, ascending by number. */
  readonly pending: readonly AmendmentDocument[];
  /** All that are held, in canonical order. Of two with one number the second is `void`, and what follows it. */
  readonly amendments: readonly (AmendmentDocument & { readonly state: 'in effect' | 'pending' | 'void' })[];
}

export interface AmendmentDocument {
  readonly id: string;
  readonly number: number;
  readonly note: string;
  readonly changes: ChangesDocument;
}

export interface AmendRequest {
  readonly changes: ChangesDocument;
  readonly note?: string | undefined;
}

export interface RevokeRequest {
  /** Update id, or its unique beginning. */
  readonly update: string;
  readonly note?: string | undefined;
}

export interface RevokeDocument {
  readonly revocation: string;
  readonly update: string;
  /** It was revoked before: nothing was signed. */
  readonly already: boolean;
  /** A sealed update leaves the model at the next seal. */
  readonly effective: 'now' | 'at the next seal';
  readonly recipe: string;
}

export interface SealDocument {
  readonly seal: string;
  readonly number: number;
  /** Records of its epoch. */
  readonly records: number;
  readonly amendments: readonly string[];
  readonly revocations: readonly string[];
  readonly recipe: string;
  /** Updates in the recipe. */
  readonly updates: number;
}

/** What other limits would have decided. Gates are null for an accepted update. */
export interface DryRunDocument {
  readonly updates: number;
  readonly accepted: number;
  /** Updates that stay as their seal decided: their payloads are not here any more. */
  readonly untried: number;
  readonly differs: readonly {
    readonly update: string;
    readonly title: string;
    readonly was: string | null;
    readonly would: string | null;
  }[];
}

/** One line of the event stream. */
export type NodeEvent =
  | { readonly type: 'update'; readonly id: string; readonly held: number }
  | { readonly type: 'recipe'; readonly id: string; readonly updates: number }
  | { readonly type: 'fold'; readonly updates: number; readonly target: number }
  | { readonly type: 'checkpoint'; readonly recipe: string }
  | { readonly type: 'seal'; readonly id: string; readonly number: number }
  | { readonly type: 'peer'; readonly id: string; readonly connected: boolean }
  | { readonly type: 'problem'; readonly code: string; readonly message: string };
