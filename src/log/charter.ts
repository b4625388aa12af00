import type { CID } from 'multiformats/cid';
import { compareBytes, type DocumentLimits, decodeCanonical, encodeCanonical, idOf, parseId } from './canonical.ts';
import {
  checkAdmission,
  checkBudgets,
  checkEncoder,
  checkMembership,
  checkPayloadVersions,
  checkSealers,
  checkSideFiles,
  checkTensors,
} from './charter-fields.ts';
import { LogError } from './errors.ts';
import { checkNumber, Fields } from './fields.ts';
import { checkPublicKey, PUBLIC_KEY_BYTES } from './keys.ts';
import { type MergeRule, readMergeRule } from './merge-rule.ts';
import { compareCodePoints } from './text.ts';

/** Most bytes of a charter: 65,536 tensors with names of about 120 bytes, or 4,000 with the longest names. */
export const MAX_CHARTER_BYTES = 16 * 1024 * 1024;
/** Most bytes of a community's name. */
export const MAX_COMMUNITY_NAME_BYTES = 256;

const LIMITS: DocumentLimits = { what: 'charter', maxBytes: MAX_CHARTER_BYTES, maxDepth: 6, maxItems: 2_000_000 };

/** One tensor of the base. */
export interface CharterTensor {
  readonly name: string;
  /** As safetensors writes it. F32, F16, BF16 and F64 are float and take part in updates. */
  readonly dtype: string;
  readonly shape: readonly number[];
  /** Merged by projection (a matrix), not summed. Only float tensors of two dimensions may be. */
  readonly linear: boolean;
  /** sha2-256 of the raw bytes, 32 bytes. */
  readonly sha256: Uint8Array;
}

/** One file beside the base's weights (configuration, tokenizer, …). */
export interface CharterFile {
  readonly name: string;
  /** Bytes. */
  readonly size: number;
  /** 32 bytes. */
  readonly sha256: Uint8Array;
}

/** Thresholds of admission, as `AdmissionPolicy` of `src/kinship`. */
export interface CharterAdmission {
  readonly duplicate: number;
  readonly opposite: number;
  readonly kinship: readonly [number, number];
  readonly normRatio: readonly [number, number];
  readonly minReference: number;
  readonly maxNorm: number;
  readonly maxScale: number;
  readonly maxDensity: number;
  readonly maxPayloadBytes: number;
}

/** The canonical document that fixes what a community is. It never changes; its id is the community's. */
/** How a fine-tune is compressed: the settings of the encoder (docs/algorithms.md B). */
export interface CharterEncoder {
  /** Share of entries that are kept, in (0, 1]; at most `admission.maxDensity`. */
  readonly density: number;
  readonly mode: 'global' | 'tensor';
  readonly scaleUnit: 'deviation' | 'magnitude';
  /** Above 0 and at most `MAX_SCALE_FACTOR`. */
  readonly scaleFactor: number;
}

export interface Charter {
  readonly version: 1;
  readonly name: string;
  /** Raw ed25519 public key, 32 bytes: signs amendments and revocations. */
  readonly owner: Uint8Array;
  /** Who seals: keys ascending, each once; threshold 1 … number of keys, or 0 without keys. */
  readonly sealers: { readonly keys: readonly Uint8Array[]; readonly threshold: number };
  /** Who may contribute: everybody, or these author keys (ascending, each once, at least one). */
  readonly membership: 'open' | readonly Uint8Array[];
  /** What each author may publish in all: updates, and bytes of their payloads. */
  readonly budgets: { readonly updates: number; readonly bytes: number };
  readonly admission: CharterAdmission;
  readonly codec: {
    /** Payload format versions that count: ascending, each once. */
    readonly payloadVersions: readonly number[];
    /** What contributors encode with unless they choose otherwise: a recommendation, no node checks it. */
    readonly encoder: CharterEncoder;
  };
  readonly merge: MergeRule;
  readonly base: {
    /** Sum of squares of all float tensors (docs/algorithms.md A), float64. */
    readonly sumSquares: number;
    /** All tensors in code-point order of their names. */
    readonly tensors: readonly CharterTensor[];
    /** In code-point order of their names. */
    readonly sideFiles: readonly CharterFile[];
  };
}

const KEYS = [
  'version',
  'name',
  'owner',
  'sealers',
  'membership',
  'budgets',
  'admission',
  'codec',
  'merge',
  'base',
] as const;

/** What `createCharter` is told; lists may come in any order. */
export type CharterInput = Omit<Charter, 'version' | 'sealers' | 'codec'> & {
  /** None when left out. */
  readonly sealers?: Charter['sealers'];
  /** Payload version 1 when left out. */
  readonly codec: Omit<Charter['codec'], 'payloadVersions'> & Partial<Pick<Charter['codec'], 'payloadVersions'>>;
};

/** Sorts the lists, checks every field, and returns the charter. @throws LogError */
export function createCharter(input: CharterInput): Charter {
  const bytes = (list: readonly Uint8Array[]): Uint8Array[] => [...list].sort(compareBytes);
  const byName = <T extends { readonly name: string }>(list: readonly T[]): T[] =>
    [...list].sort((a, b) => compareCodePoints(a.name, b.name));
  const sealers = input.sealers ?? { keys: [], threshold: 0 };
  return decodeCharter(
    encodeCanonical(
      plain({
        version: 1,
        name: input.name,
        owner: input.owner,
        sealers: { keys: bytes(sealers.keys), threshold: sealers.threshold },
        membership: input.membership === 'open' ? 'open' : bytes(input.membership),
        budgets: input.budgets,
        admission: input.admission,
        codec: { payloadVersions: input.codec.payloadVersions ?? [1], encoder: input.codec.encoder },
        merge: input.merge,
        base: {
          sumSquares: input.base.sumSquares,
          tensors: byName(input.base.tensors),
          sideFiles: byName(input.base.sideFiles),
        },
      }),
      LIMITS,
    ),
  );
}

/** Canonical bytes of a charter, after checking every field. @throws LogError */
export function encodeCharter(charter: Charter): Uint8Array {
  const value = plain(charter);
  readCharter(new Fields(value, 'charter'));
  return encodeCanonical(value, LIMITS);
}

/** @throws LogError; compare `charterId(bytes)` with the community id before calling this */
export function decodeCharter(bytes: Uint8Array): Charter {
  return readCharter(new Fields(decodeCanonical(bytes, LIMITS), 'charter'));
}

/** The community id of a charter's canonical bytes. */
export function charterId(bytes: Uint8Array): CID {
  return idOf(bytes);
}

/** A community id from its text form, base32. @throws LogError `BAD_COMMUNITY_ID` */
export function parseCommunityId(text: string): CID {
  try {
    return parseId(text);
  } catch (cause) {
    throw new LogError(
      'BAD_COMMUNITY_ID',
      `${JSON.stringify(text.slice(0, 80))} is not a community id: copy it again, it begins with bafyrei`,
      { text: text.slice(0, 80) },
      { cause },
    );
  }
}

/** True when this author may contribute by the charter itself. */
export function isMember(charter: Charter, author: Uint8Array): boolean {
  if (charter.membership === 'open') return true;
  let low = 0;
  let high = charter.membership.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const order = compareBytes(charter.membership[middle]!, author);
    if (order === 0) return true;
    if (order < 0) low = middle + 1;
    else high = middle;
  }
  return false;
}

function readCharter(fields: Fields): Charter {
  fields.version(1);
  fields.closed(KEYS);
  const codec = fields.map('codec').closed(['payloadVersions', 'encoder']);
  const admission = checkAdmission(fields.map('admission'));
  const base = fields.map('base').closed(['sumSquares', 'tensors', 'sideFiles']);
  return {
    version: 1,
    name: fields.text('name', { minBytes: 1, maxBytes: MAX_COMMUNITY_NAME_BYTES }),
    owner: checkPublicKey(fields.bytes('owner', PUBLIC_KEY_BYTES), 'charter.owner'),
    sealers: checkSealers(fields.map('sealers')),
    membership: checkMembership(fields.raw('membership')),
    budgets: checkBudgets(fields.map('budgets')),
    admission,
    codec: {
      payloadVersions: checkPayloadVersions(codec),
      encoder: checkEncoder(codec.map('encoder'), admission),
    },
    merge: readMergeRule(fields.map('merge')),
    base: {
      sumSquares: checkNumber(base.raw('sumSquares'), 'charter.base.sumSquares', Number.MIN_VALUE, Number.MAX_VALUE),
      tensors: checkTensors(base),
      sideFiles: checkSideFiles(base),
    },
  };
}

/** Only the charter's own fields, so that an object with more of them does not leak into the bytes. */
function plain(c: Charter): Charter {
  return {
    version: 1,
    name: c.name,
    owner: c.owner,
    sealers: { keys: [...c.sealers.keys], threshold: c.sealers.threshold },
    membership: c.membership === 'open' ? 'open' : [...c.membership],
    budgets: { updates: c.budgets.updates, bytes: c.budgets.bytes },
    admission: {
      duplicate: c.admission.duplicate,
      opposite: c.admission.opposite,
      kinship: [c.admission.kinship[0], c.admission.kinship[1]],
      normRatio: [c.admission.normRatio[0], c.admission.normRatio[1]],
      minReference: c.admission.minReference,
      maxNorm: c.admission.maxNorm,
      maxScale: c.admission.maxScale,
      maxDensity: c.admission.maxDensity,
      maxPayloadBytes: c.admission.maxPayloadBytes,
    },
    codec: {
      payloadVersions: [...c.codec.payloadVersions],
      encoder: {
        density: c.codec.encoder.density,
        mode: c.codec.encoder.mode,
        scaleUnit: c.codec.encoder.scaleUnit,
        scaleFactor: c.codec.encoder.scaleFactor,
      },
    },
    merge: { method: c.merge.method, variant: c.merge.variant, alpha: c.merge.alpha, scale: c.merge.scale },
    base: {
      sumSquares: c.base.sumSquares,
      tensors: c.base.tensors.map(({ name, dtype, shape, linear, sha256 }) => ({
        name,
        dtype,
        shape: [...shape],
        linear,
        sha256,
      })),
      sideFiles: c.base.sideFiles.map(({ name, size, sha256 }) => ({ name, size, sha256 })),
    },
  };
}
