import { generateKeyPair } from '@libp2p/crypto/keys';
import type { Libp2p, PeerId } from '@libp2p/interface';
import type { Blocks, HostServices, JoinLine, LogSource, Sync } from '../../protocols/index.ts';
import { blocks, createHost, fixedSource, ProtocolError, sync } from '../../protocols/index.ts';
import { MAX_CHARTER_BYTES } from '../../src/log/index.ts';
import { NodeError } from '../errors.ts';
import { VERSION } from '../version.ts';
import { DIAL_TIMEOUT_MS } from './dialer.ts';

/** A short stay on the network without a node: dials, asks, leaves. Serves nothing. */
export interface Visit {
  readonly peer: PeerId;
  readonly blocks: Blocks;
  readonly sync: Sync;
}

/** What the caller sees alike, whether the peer never answered, is too busy, or was lost on the way. */
const LOST: ReadonlySet<string> = new Set(['UNREACHABLE', 'TIMEOUT', 'TRUNCATED', 'BUSY', 'RATE_LIMITED']);

/**
 * Connects to the peer of a join line for the time of `work`.
 *
 * @param source - the log to sync into; an empty one when left out
 * @throws NodeError `NETWORK_UNREACHABLE` when the peer does not answer, or no longer; whatever else `work` throws
 */
export async function visit<T>(
  target: Pick<JoinLine, 'address' | 'community'>,
  options: { signal: AbortSignal; source?: LogSource },
  work: (visit: Visit) => Promise<T>,
): Promise<T> {
  let host: Libp2p<HostServices & { blocks: Blocks; sync: Sync }> | undefined;
  try {
    host = await createHost(
      { privateKey: await generateKeyPair('Ed25519'), listen: [], version: VERSION, communities: [] },
      {
        blocks: blocks({ source: { object: async () => undefined, block: async () => undefined } }),
        sync: sync({ source: options.source ?? fixedSource(target.community) }),
      },
    );
    const connection = await dial(host, target.address, options.signal);
    return await work({ peer: connection, blocks: host.services.blocks, sync: host.services.sync });
  } catch (error) {
    throw error instanceof ProtocolError && LOST.has(error.code) ? unreachable(target.address, error) : error;
  } finally {
    await host?.stop();
  }
}

/**
 * Fetches a community's charter from the peer of a join line.
 *
 * @throws NodeError `CHARTER_MISMATCH` when what comes does not hash to the community id
 */
export async function fetchCharter(line: JoinLine, signal: AbortSignal): Promise<Uint8Array> {
  return visit(line, { signal }, async ({ peer, blocks }) => {
    try {
      return await blocks.fetchObject([peer], line.community, { signal, maxBytes: MAX_CHARTER_BYTES });
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      if (error.code === 'BAD_BYTES') {
        throw new NodeError(
          'CHARTER_MISMATCH',
          `${line.peer} offers a charter that does not hash to the community id: do not trust this peer`,
          { community: line.community.toString(), peer: line.peer.toString() },
          { cause: error },
        );
      }
      if (error.code === 'NOT_FOUND') {
        throw new NodeError(
          'NETWORK_UNREACHABLE',
          `${line.peer} is not a node of this community: check the join line`,
          {
            community: line.community.toString(),
          },
        );
      }
      throw unreachable(line.address, error);
    }
  });
}

async function dial(host: Libp2p, address: JoinLine['address'], signal: AbortSignal): Promise<PeerId> {
  try {
    const timeout = AbortSignal.timeout(DIAL_TIMEOUT_MS);
    return (await host.dial(address, { signal: AbortSignal.any([signal, timeout]) })).remotePeer;
  } catch (error) {
    signal.throwIfAborted();
    throw unreachable(address, error);
  }
}

function unreachable(address: JoinLine['address'], cause: unknown): NodeError {
  return new NodeError(
    'NETWORK_UNREACHABLE',
    `${address} does not answer: is that node running, and can this machine reach it?`,
    { address: address.toString() },
    { cause },
  );
}
