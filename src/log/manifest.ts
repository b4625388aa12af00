import { createHash } from 'node:crypto';
import type { CID } from 'multiformats/cid';
import type { RunOptions } from '../run-options.ts';
import { DIGEST_BYTES, type DocumentLimits, decodeCanonical, encodeCanonical, idOf } from './canonical.ts';
import { LogError } from './errors.ts';
import { checkBytes, checkUint, Fields } from './fields.ts';

/** Bytes of every block but the last. Fixed, so that the same content always has the same id. */
export const BLOCK_BYTES = 1_048_576;
/** Largest content that a manifest describes: 256 GiB, above any single checkpoint file in use. */
export const MAX_CONTENT_BYTES = 262_144 * BLOCK_BYTES;
/** Most blocks of a manifest. */
export const MAX_BLOCKS = MAX_CONTENT_BYTES / BLOCK_BYTES;
/** Most bytes of an encoded manifest: 34 a block and the map around them. */
export const MAX_MANIFEST_BYTES = MAX_BLOCKS * 34 + 64;

const LIMITS: DocumentLimits = {
  what: 'manifest',
  maxBytes: MAX_MANIFEST_BYTES,
  maxDepth: 2,
  maxItems: MAX_BLOCKS + 16,
};

/** What content is: its size and the sha2-256 of each block of 1 MiB (the last one may be shorter). */
export interface Manifest {
  /** Bytes. 0 has no blocks: a file may be empty, a payload may not. */
  readonly size: number;
  /** 32 bytes each. */
  readonly blocks: readonly Uint8Array[];
}

/** A manifest with its canonical bytes and their id: the id of the content. */
export interface IdentifiedManifest {
  readonly manifest: Manifest;
  readonly bytes: Uint8Array;
  readonly id: CID;
}

/** Number of blocks of content of that size. */
export function blockCount(size: number): number {
  return Math.ceil(size / BLOCK_BYTES);
}

/** Bytes of block `index` of content of that size. */
export function blockSize(manifest: Manifest, index: number): number {
  return Math.min(BLOCK_BYTES, manifest.size - index * BLOCK_BYTES);
}

/** @throws LogError */
export function encodeManifest(manifest: Manifest): Uint8Array {
  checkUint(manifest.size, 'manifest.size', 0, MAX_CONTENT_BYTES);
  for (const block of manifest.blocks) checkBytes(block, 'manifest.blocks', DIGEST_BYTES);
  checkCount(manifest);
  return encodeCanonical({ size: manifest.size, blockSize: BLOCK_BYTES, blocks: [...manifest.blocks] }, LIMITS);
}

/**
 * Reads a manifest.
 *
 * @param maxSize - largest content size to accept, in bytes
 * @throws LogError
 */
export function decodeManifest(bytes: Uint8Array, maxSize: number = MAX_CONTENT_BYTES): Manifest {
  // The bytes needed for the largest allowed content bound the parse, not the format's own limit.
  const blocks = Math.min(MAX_BLOCKS, blockCount(maxSize));
  const limits = { ...LIMITS, maxBytes: Math.min(LIMITS.maxBytes, blocks * 34 + 64), maxItems: blocks + 16 };
  const fields = new Fields(decodeCanonical(bytes, limits), 'manifest').closed(['size', 'blockSize', 'blocks']);
  fields.uint('blockSize', BLOCK_BYTES, BLOCK_BYTES);
  const manifest: Manifest = {
    size: fields.uint('size', 0, Math.min(maxSize, MAX_CONTENT_BYTES)),
    blocks: fields.list('blocks', 0, blocks).map((block) => checkBytes(block, 'manifest.blocks', DIGEST_BYTES)),
  };
  checkCount(manifest);
  return manifest;
}

/** The manifest of content, read once from start to end. Memory: one digest a block. */
export async function manifestOf(
  content: Uint8Array | Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
  options: RunOptions = {},
): Promise<IdentifiedManifest> {
  const blocks: Uint8Array[] = [];
  let hash = createHash('sha256');
  let inBlock = 0;
  let size = 0;
  for await (const chunk of content instanceof Uint8Array ? [content] : content) {
    for (let start = 0; start < chunk.length; ) {
      options.signal?.throwIfAborted();
      const end = Math.min(chunk.length, start + BLOCK_BYTES - inBlock);
      hash.update(chunk.subarray(start, end));
      inBlock += end - start;
      size += end - start;
      start = end;
      if (inBlock === BLOCK_BYTES) {
        blocks.push(new Uint8Array(hash.digest()));
        hash = createHash('sha256');
        inBlock = 0;
      }
    }
    options.onProgress?.({ phase: 'hashing content', done: size, total: 0, unit: 'bytes' });
  }
  if (inBlock > 0) blocks.push(new Uint8Array(hash.digest()));
  const manifest: Manifest = { size, blocks };
  const bytes = encodeManifest(manifest);
  return { manifest, bytes, id: idOf(bytes) };
}

function checkCount(manifest: Manifest): void {
  const expected = blockCount(manifest.size);
  if (manifest.blocks.length !== expected) {
    throw new LogError(
      'MANIFEST_MISMATCH',
      `a manifest of ${manifest.size} bytes has ${expected} blocks, not ${manifest.blocks.length}`,
      { size: manifest.size, expected, blocks: manifest.blocks.length },
    );
  }
}
