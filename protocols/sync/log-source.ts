import type { CID } from 'multiformats/cid';
import { encodeSigned, encodeSignedSeal, IdTree, type Log, sealEntry } from '../../src/log/index.ts';
import type { LogSource } from './index.ts';

export interface LogSourceInit {
  readonly log: Log;
  /** Id of the community's first charter. */
  readonly charter: CID;
  /** This node's encoded signed head, or null while it has none. */
  readonly head: () => Uint8Array | null;
  /** Whether the head with this sha2-256 is here; never when left out. */
  readonly hasHead?: (digest: Uint8Array) => boolean;
}

/** The in-memory log as sync sees it. Records are encoded one by one as a peer reads them. */
export function logSource({ log, charter, head, hasHead = () => false }: LogSourceInit): LogSource {
  return {
    charter,
    head,
    hasHead,
    ids: log.ids,
    known: log.knownIds,
    *order() {
      for (const { id } of log.held()) yield id;
      for (const signed of log.seals.values()) yield sealEntry(signed).id;
    },
    entry: (id) => {
      const signed = log.get(id);
      if (signed !== undefined) return encodeSigned(signed);
      const seal = log.seals.byEntry(id);
      return seal && encodeSignedSeal(seal);
    },
  };
}

/**
 * Entries that never change, as a source: of a node that only visits (none), or of one that a test plays.
 *
 * @param entries - parents before children
 */
export function fixedSource(
  charter: CID,
  entries: readonly { readonly id: CID; readonly bytes: Uint8Array }[] = [],
): LogSource {
  const byId = new Map(entries.map(({ id, bytes }) => [id.toString(), bytes]));
  const ids = new IdTree(entries.map(({ id }) => id));
  return {
    charter,
    head: () => null,
    hasHead: () => false,
    ids,
    known: ids,
    order: () => entries.map(({ id }) => id),
    entry: (id) => byId.get(id.toString()),
  };
}
