import type { CID } from 'multiformats/cid';
import { encodeSigned, type Log } from '../../src/log/index.ts';
import type { LogSource } from './index.ts';
import { locate } from './locator.ts';

export interface LogSourceInit {
  readonly log: Log;
  /** Id of the community's first charter. */
  readonly charter: CID;
  /** This node's encoded signed head, or null while it has none. */
  readonly head: () => Uint8Array | null;
}

/** The in-memory log as sync sees it. Records are encoded one by one as a peer reads them. */
export function logSource({ log, charter, head }: LogSourceInit): LogSource {
  return {
    charter,
    head,
    tips: () => log.heads(),
    known: (limit) =>
      locate(
        log.heads(),
        Array.from(log.held(), ({ id }) => id),
        limit,
      ),
    has: (id) => log.state(id) === 'held' || log.state(id) === 'pending',
    *recordsSince(known) {
      for (const signed of log.heldExcept(known)) yield encodeSigned(signed);
    },
    record: (id) => {
      const signed = log.get(id);
      return signed === undefined ? undefined : encodeSigned(signed);
    },
  };
}
