import type { CID } from 'multiformats/cid';
import { compareBytes, type DocumentLimits, decodeCanonical, encodeCanonical } from './canonical.ts';
import { LogError } from './errors.ts';
import { checkAscending, checkId, checkUint, Fields } from './fields.ts';
import { checkPublicKey, PUBLIC_KEY_BYTES, SIGNATURE_BYTES, type SigningKey, signBytes, verifyBytes } from './keys.ts';
import { MAX_SEQ } from './record-fields.ts';

/** Most ids of a head's frontier; a node with more heads names the first ones and sets `truncated`. */
export const MAX_FRONTIER = 64;
/** Most bytes of a head's canonical body. */
export const MAX_HEAD_BYTES = 4096;
/** Most bytes of a signed head. */
export const MAX_SIGNED_HEAD_BYTES = MAX_HEAD_BYTES + 128;

const DOMAIN = 'kinmerge/head/1';
const BODY_LIMITS: DocumentLimits = { what: 'head', maxBytes: MAX_HEAD_BYTES, maxDepth: 3, maxItems: 256 };
const SIGNED_LIMITS: DocumentLimits = {
  what: 'signed head',
  maxBytes: MAX_SIGNED_HEAD_BYTES,
  maxDepth: 2,
  maxItems: 8,
};

/** A node's statement of what it holds and which model it has made of it. */
export interface Head {
  readonly version: 1;
  /** Raw ed25519 public key of the node, 32 bytes. */
  readonly node: Uint8Array;
  /** Id of the community's first charter. */
  readonly charter: CID;
  readonly recipe: CID;
  /** Held records without held children, ascending by bytes, each once. */
  readonly frontier: readonly CID[];
  /** The node has more such records than `MAX_FRONTIER`; these are the smallest ones. */
  readonly truncated: boolean;
  /** Updates in the recipe. */
  readonly accepted: number;
  /** Records that the node holds. */
  readonly held: number;
  /** Id of the checkpoint document made from the recipe; null until it is written. */
  readonly checkpoint: CID | null;
  /** What is sealed; null while nothing is. */
  readonly sealed: SealedHead | null;
  /** Grows with every head that the node signs, also across restarts: of two heads the larger counter is newer. */
  readonly counter: number;
}

/** The last seal that a node has applied, and the model that it makes final. */
export interface SealedHead {
  /** Id of the seal. */
  readonly seal: CID;
  /** Its number, from 1. */
  readonly number: number;
  readonly recipe: CID;
  /** As the head's. */
  readonly checkpoint: CID | null;
}

/** A head whose signature was made or checked by this program. */
export interface SignedHead {
  readonly head: Head;
  /** Canonical unsigned bytes. */
  readonly body: Uint8Array;
  /** 64 bytes. */
  readonly signature: Uint8Array;
}

const KEYS = [
  'version',
  'node',
  'charter',
  'recipe',
  'frontier',
  'truncated',
  'accepted',
  'held',
  'checkpoint',
  'sealed',
  'counter',
] as const;

/** The frontier fields of a head: sorted, and cut to `MAX_FRONTIER`. */
export function frontierOf(heads: Iterable<CID>): Pick<Head, 'frontier' | 'truncated'> {
  const all = [...heads].sort((a, b) => compareBytes(a.bytes, b.bytes));
  return { frontier: all.slice(0, MAX_FRONTIER), truncated: all.length > MAX_FRONTIER };
}

/** Signs a head with the node's key. @throws LogError */
export function signHead(head: Head, key: SigningKey): SignedHead {
  if (compareBytes(head.node, key.publicKey) !== 0) {
    throw new LogError('BAD_KEY', 'the signing key is not the key of the node that the head names', {});
  }
  const body = encodeHead(head);
  return { head: decodeHead(body), body, signature: signBytes(key, DOMAIN, body) };
}

/** The form in which a head travels. */
export function encodeSignedHead(signed: SignedHead): Uint8Array {
  return encodeCanonical({ body: signed.body, signature: signed.signature }, SIGNED_LIMITS);
}

/** Size, canonical form, fields and signature, in this order. @throws LogError */
export function decodeSignedHead(bytes: Uint8Array): SignedHead {
  const fields = new Fields(decodeCanonical(bytes, SIGNED_LIMITS), 'signed head').closed(['body', 'signature']);
  const signature = fields.bytes('signature', SIGNATURE_BYTES);
  const body = fields.bytesUpTo('body', MAX_HEAD_BYTES);
  const head = decodeHead(body);
  if (!verifyBytes(head.node, DOMAIN, body, signature)) {
    throw new LogError('BAD_SIGNATURE', 'the signature is not the node’s over this head', {});
  }
  return { head, body, signature };
}

/** Canonical unsigned bytes of a head, after checking every field. @throws LogError */
export function encodeHead(head: Head): Uint8Array {
  checkPublicKey(head.node, 'head.node');
  checkId(head.charter, 'head.charter');
  checkId(head.recipe, 'head.recipe');
  for (const id of head.frontier) checkId(id, 'head.frontier');
  if (head.checkpoint !== null) checkId(head.checkpoint, 'head.checkpoint');
  checkUint(head.accepted, 'head.accepted', 0, Number.MAX_SAFE_INTEGER);
  checkUint(head.held, 'head.held', 0, Number.MAX_SAFE_INTEGER);
  checkUint(head.counter, 'head.counter', 0, Number.MAX_SAFE_INTEGER);
  checkConsistent(head);
  return encodeCanonical(
    {
      version: 1,
      node: head.node,
      charter: head.charter,
      recipe: head.recipe,
      frontier: [...head.frontier],
      truncated: head.truncated,
      accepted: head.accepted,
      held: head.held,
      checkpoint: head.checkpoint,
      sealed: head.sealed === null ? null : readSealed(new Fields({ ...head.sealed }, 'head.sealed')),
      counter: head.counter,
    },
    BODY_LIMITS,
  );
}

function decodeHead(body: Uint8Array): Head {
  const fields = new Fields(decodeCanonical(body, BODY_LIMITS), 'head');
  fields.version(1);
  fields.closed(KEYS);
  const head: Head = {
    version: 1,
    node: checkPublicKey(fields.bytes('node', PUBLIC_KEY_BYTES), 'head.node'),
    charter: fields.id('charter'),
    recipe: fields.id('recipe'),
    frontier: fields.list('frontier', 0, MAX_FRONTIER).map((id) => checkId(id, 'head.frontier')),
    truncated: fields.boolean('truncated'),
    accepted: fields.uint('accepted', 0, Number.MAX_SAFE_INTEGER),
    held: fields.uint('held', 0, Number.MAX_SAFE_INTEGER),
    checkpoint: fields.idOrNull('checkpoint'),
    sealed: fields.raw('sealed') === null ? null : readSealed(fields.map('sealed')),
    counter: fields.uint('counter', 0, Number.MAX_SAFE_INTEGER),
  };
  checkConsistent(head);
  return head;
}

function readSealed(fields: Fields): SealedHead {
  fields.closed(['seal', 'number', 'recipe', 'checkpoint']);
  return {
    seal: fields.id('seal'),
    number: fields.uint('number', 1, MAX_SEQ),
    recipe: fields.id('recipe'),
    checkpoint: fields.idOrNull('checkpoint'),
  };
}

function checkConsistent(head: Head): void {
  const { frontier, truncated, accepted, held } = head;
  checkAscending(frontier, 'head.frontier', (a, b) => compareBytes(a.bytes, b.bytes));
  const wrong =
    frontier.length > MAX_FRONTIER ||
    frontier.length > held ||
    (frontier.length === 0) !== (held === 0) ||
    (truncated && (frontier.length !== MAX_FRONTIER || held === MAX_FRONTIER)) ||
    accepted > held;
  if (wrong) {
    throw new LogError('OUT_OF_RANGE', 'a head’s counts and its frontier contradict each other', {
      frontier: frontier.length,
      truncated,
      accepted,
      held,
    });
  }
}
