import { readFile } from 'node:fs/promises';
import { idOf } from '../../../../src/log/canonical.ts';
import {
  type Charter,
  charterId,
  checkpointId,
  decodeCharter,
  decodeCheckpoint,
  decodeManifest,
  decodeRecipe,
  decodeSigned,
  decodeSignedHead,
  encodeManifest,
  keyToText,
  LogError,
  MAX_CHARTER_BYTES,
  MAX_CHECKPOINT_BYTES,
  MAX_MANIFEST_BYTES,
  MAX_RECIPE_BYTES,
  MAX_SIGNED_HEAD_BYTES,
  MAX_SIGNED_RECORD_BYTES,
  recipeId,
} from '../../../../src/log/index.ts';
import { describeContent } from '../../../service/describe-record.ts';

export type DocumentKind = 'charter' | 'record' | 'head' | 'recipe' | 'checkpoint document' | 'manifest';

const MAX_BYTES: Readonly<Record<DocumentKind, number>> = {
  charter: MAX_CHARTER_BYTES,
  record: MAX_SIGNED_RECORD_BYTES,
  head: MAX_SIGNED_HEAD_BYTES,
  recipe: MAX_RECIPE_BYTES,
  'checkpoint document': MAX_CHECKPOINT_BYTES,
  manifest: MAX_MANIFEST_BYTES,
};

/**
 * A document's kind by its first key: dag-cbor sorts keys by length, then bytes, so that it is the same for all
 * documents of a kind. The bytes of a signed one are looked into.
 */
export function documentKind(head: Uint8Array): DocumentKind | undefined {
  switch (firstKey(head)) {
    case 'base':
      return 'charter';
    case 'merge':
      return 'recipe';
    case 'files':
      return 'checkpoint document';
    case 'size':
      return 'manifest';
    case 'body':
      return firstKey(bytesAt(head, 6)) === 'held' ? 'head' : 'record';
    default:
      return undefined;
  }
}

/** The text of the first key of a dag-cbor map with fewer than 24 entries. */
function firstKey(bytes: Uint8Array): string | undefined {
  const [map = 0, key = 0] = bytes;
  if (map < 0xa1 || map > 0xb7 || key < 0x61 || key > 0x77) return undefined;
  return Buffer.from(bytes.subarray(2, 2 + (key & 0x1f))).toString('latin1');
}

/** What is there of a dag-cbor byte string that begins at `at`. */
function bytesAt(bytes: Uint8Array, at: number): Uint8Array {
  const sizes: Readonly<Record<number, number>> = { 88: 2, 89: 3 };
  return bytes.subarray(at + (sizes[bytes[at] ?? 0] ?? 1));
}

/** Reads a document after checking its size. @throws LogError `TOO_LARGE` */
export async function readDocument(path: string, bytes: number, kind: DocumentKind): Promise<Uint8Array> {
  const limit = MAX_BYTES[kind];
  if (bytes > limit) {
    throw new LogError('TOO_LARGE', `${path}: a ${kind} has at most ${limit} bytes, this has ${bytes}`, {
      bytes,
      limit,
    });
  }
  return new Uint8Array(await readFile(path));
}

/** Decodes a document in full, its signature included. Ids and keys are given as text. @throws LogError */
export function describeDocument(kind: DocumentKind, bytes: Uint8Array): object {
  switch (kind) {
    case 'charter':
      return describeCharter(bytes, decodeCharter(bytes));
    case 'record': {
      const { id, record } = decodeSigned(bytes);
      const { kind: recordKind, author, charter, seq, prev, parents } = record;
      return {
        id: `${id}`,
        record: recordKind,
        signature: 'valid',
        author: keyToText(author),
        community: `${charter}`,
        seq,
        prev: prev === null ? null : `${prev}`,
        parents: parents.map(String),
        ...describeContent(record),
      };
    }
    case 'head': {
      const { head } = decodeSignedHead(bytes);
      const { node, charter, recipe, frontier, checkpoint, ...counts } = head;
      return {
        signature: 'valid',
        node: keyToText(node),
        community: `${charter}`,
        recipe: `${recipe}`,
        frontier: frontier.map(String),
        checkpoint: checkpoint === null ? null : `${checkpoint}`,
        ...counts,
      };
    }
    case 'recipe': {
      const recipe = decodeRecipe(bytes);
      const { charter, algorithm, updates, merge } = recipe;
      return { id: `${recipeId(recipe)}`, community: `${charter}`, algorithm, merge, updates: updates.map(String) };
    }
    case 'checkpoint document': {
      const document = decodeCheckpoint(bytes);
      const files = document.files.map(({ name, size, manifest }) => ({ name, size, manifest: `${manifest}` }));
      return { id: `${checkpointId(document)}`, recipe: `${document.recipe}`, files };
    }
    case 'manifest': {
      const manifest = decodeManifest(bytes);
      return { id: `${idOf(encodeManifest(manifest))}`, content: manifest.size, blocks: manifest.blocks.length };
    }
  }
}

function describeCharter(bytes: Uint8Array, charter: Charter): object {
  const { name, owner, sealers, membership, budgets, admission, codec, merge, base } = charter;
  return {
    id: `${charterId(bytes)}`,
    name,
    owner: keyToText(owner),
    sealers: { keys: sealers.keys.map(keyToText), threshold: sealers.threshold },
    membership: membership === 'open' ? 'open' : membership.map(keyToText),
    budgets,
    admission,
    payloadVersions: codec.payloadVersions,
    encoder: codec.encoder,
    merge,
    sumSquares: base.sumSquares,
    sideFiles: base.sideFiles.map(({ name: file }) => file),
    tensors: base.tensors.map(({ name: tensor, dtype, shape, linear }) => ({ name: tensor, dtype, linear, shape })),
  };
}
