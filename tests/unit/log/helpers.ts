import * as dagCbor from '@ipld/dag-cbor';
import type { CID } from 'multiformats/cid';
import {
  type Charter,
  type CharterInput,
  charterId,
  createCharter,
  encodeCharter,
  idOf,
  keyFromSeed,
  LogError,
  type SignedRecord,
  type SignedUpdate,
  type SigningKey,
  signRecord,
  type UpdateRecord,
} from '../../../src/log/index.ts';

/** A key that is the same in every run. */
export function testKey(n: number): SigningKey {
  const seed = new Uint8Array(32);
  new DataView(seed.buffer).setUint32(0, n + 1);
  return keyFromSeed(seed);
}

export function testId(n: number): CID {
  return idOf(dagCbor.encode(n));
}

export function digest(n: number): Uint8Array {
  return testId(n).multihash.digest.slice();
}

export function charterInput(changes: Partial<CharterInput> = {}): CharterInput {
  return {
    name: 'vision8',
    owner: testKey(0).publicKey,
    membership: 'open',
    budgets: { updates: 1_000_000, bytes: 2 ** 40 },
    admission: {
      duplicate: 0.95,
      opposite: -0.5,
      kinship: [-0.1, 0.9],
      normRatio: [1 / 3, 3],
      minReference: 3,
      maxNorm: 12.25,
      maxScale: 1,
      maxDensity: 0.5,
      maxPayloadBytes: 2 ** 31,
    },
    codec: { encoder: { density: 0.2, mode: 'tensor', scaleUnit: 'magnitude', scaleFactor: 2.5 } },
    merge: { method: 'opcm', variant: 'ref', alpha: 0.5, scale: 1 },
    base: {
      sumSquares: 3751.5,
      tensors: [
        { name: 'head.weight', dtype: 'F32', shape: [10, 96], linear: true, sha256: digest(1) },
        { name: 'head.bias', dtype: 'F32', shape: [10], linear: false, sha256: digest(2) },
        { name: 'steps', dtype: 'I64', shape: [], linear: false, sha256: digest(3) },
      ],
      sideFiles: [{ name: 'config.json', size: 12, sha256: digest(4) }],
    },
    ...changes,
  };
}

export function testCharter(changes: Partial<CharterInput> = {}): { charter: Charter; id: CID; bytes: Uint8Array } {
  const charter = createCharter(charterInput(changes));
  const bytes = encodeCharter(charter);
  return { charter, id: charterId(bytes), bytes };
}

/** Parents in the order that records want. */
export function sorted(ids: readonly CID[]): CID[] {
  return [...ids].sort((a, b) => Buffer.compare(a.bytes, b.bytes));
}

export function recordOf(author: SigningKey, changes: Partial<UpdateRecord> = {}): UpdateRecord {
  return {
    version: 1,
    kind: 'update',
    author: author.publicKey,
    charter: testId(0),
    seq: 0,
    prev: null,
    parents: [],
    payload: testId(1),
    title: 'mnist',
    license: 'Apache-2.0',
    note: '',
    ...changes,
  };
}

/** A really signed record after `prev`, naming it and the other parents. */
export function follow(
  author: SigningKey,
  charter: CID,
  prev: SignedRecord | null,
  parents: readonly SignedRecord[] = [],
  changes: Partial<UpdateRecord> = {},
): SignedUpdate {
  const ids = new Map([...parents, ...(prev === null ? [] : [prev])].map(({ id }) => [id.toString(), id]));
  return signRecord(
    recordOf(author, {
      charter,
      seq: prev === null ? 0 : prev.record.seq + 1,
      prev: prev?.id ?? null,
      parents: sorted([...ids.values()]),
      ...changes,
    }),
    author,
  );
}

/** The code of the LogError that the call throws; fails on any other error and on none. */
export function codeOf(call: () => unknown): string {
  try {
    call();
  } catch (error) {
    if (error instanceof LogError) return error.code;
    throw error;
  }
  return 'NO_ERROR';
}
