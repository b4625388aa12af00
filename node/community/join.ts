import { readFile } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { createServer } from 'node:net';
import type { CID } from 'multiformats/cid';
import { parseJoinLine } from '../../protocols/index.ts';
import { makeDirectoryDurably, writeFileDurably } from '../../src/durable.ts';
import type { Charter, SigningKey } from '../../src/log/index.ts';
import { charterId, decodeCharter } from '../../src/log/index.ts';
import type { RunOptions } from '../../src/run-options.ts';
import { pinCheckpointPath, resolveCheckpointPath } from '../../src/tensors/index.ts';
import { checkBase } from '../base.ts';
import { NodeError } from '../errors.ts';
import type { HomeConfig } from '../home/config.ts';
import { readConfig, writeConfig } from '../home/config.ts';
import { loadOrCreateKey } from '../home/keys.ts';
import type { HomePaths } from '../home/paths.ts';
import { HOME_LAYOUT_VERSION } from '../home/paths.ts';
import { fetchCharter } from '../net/visitor.ts';
import { announcedFromText, peerFromText } from '../peer-address.ts';

export interface JoinOptions {
  /** A join line, or the path of a charter. */
  readonly target: string;
  /** The base; null for a home that only pulls. */
  readonly base: string | null;
  readonly peers: readonly string[];
  readonly listen: readonly string[];
  /** Addresses that others are told to dial; those it listens on when empty. */
  readonly announce: readonly string[];
}

export interface Joined {
  readonly id: CID;
  readonly charter: Charter;
  readonly author: SigningKey;
}

/**
 * Makes a home part of a community: charter, keys (unless they are there) and configuration. The configuration is
 * written last, so a home is joined or not. Joining again adds peers and moves the base.
 *
 * @throws NodeError `CHARTER_MISMATCH`, `BASE_MISMATCH`, `NETWORK_UNREACHABLE`, `HOME_ALREADY_JOINED`, `USAGE`
 */
export async function joinCommunity(
  options: JoinOptions,
  components: { home: HomePaths; signal: AbortSignal },
  run: RunOptions = {},
): Promise<Joined> {
  const { home } = components;
  const announced = options.announce.map(announcedFromText);
  const { bytes, addresses } = await resolveTarget(options.target, components.signal);
  const id = charterId(bytes);
  const charter = decodeCharter(bytes);
  const before = await existingConfig(home);
  if (before !== undefined && before.community !== id.toString()) {
    throw new NodeError(
      'HOME_ALREADY_JOINED',
      `${home.root} belongs to community ${before.community}: choose another --home for this one`,
      { home: home.root, community: before.community },
    );
  }
  // A branch in the Hugging Face cache moves; what was checked must be what is used from then on.
  const base = options.base === null ? null : await pinCheckpointPath(resolveCheckpointPath(options.base));
  if (base !== null) await checkBase(charter, base, run);
  await makeDirectoryDurably(home.root, 0o700);
  const author = await loadOrCreateKey(home.authorKey);
  await loadOrCreateKey(home.nodeKey);
  await writeFileDurably(home.charter, bytes);
  const listen = options.listen.length > 0 ? options.listen : before?.listen;
  await writeConfig(home.config, {
    ...before,
    // One of an older layout stays so until it is opened.
    layout: before?.layout ?? HOME_LAYOUT_VERSION,
    community: id.toString(),
    base: base ?? before?.base ?? null,
    listen: [...(listen ?? [`/ip4/0.0.0.0/tcp/${await freePort()}`])],
    announce: announced.length > 0 ? announced : (before?.announce ?? []),
    bootstrap: [
      ...new Set([
        ...(before?.bootstrap ?? []),
        ...addresses,
        ...options.peers.map((peer) => peerFromText(peer).address),
      ]),
    ],
  });
  return { id, charter, author };
}

async function resolveTarget(target: string, signal: AbortSignal): Promise<{ bytes: Uint8Array; addresses: string[] }> {
  if (target.startsWith('kinmerge:')) {
    const line = parseJoinLine(target);
    return { bytes: await fetchCharter(line, signal), addresses: [line.address.toString()] };
  }
  try {
    return { bytes: await readFile(target), addresses: [] };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    throw new NodeError('USAGE', `${target} is neither a join line (kinmerge:…) nor the path of a charter`, { target });
  }
}

async function existingConfig(home: HomePaths): Promise<HomeConfig | undefined> {
  try {
    return await readConfig(home.config);
  } catch (error) {
    if (error instanceof NodeError && error.code === 'HOME_NOT_JOINED') return undefined;
    throw error;
  }
}

/** A port that is free now, kept from then on: peers find a restarted node where it was. */
async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((done, reject) => {
    server.once('error', reject);
    server.listen(0, done);
  });
  const { port } = server.address() as AddressInfo;
  await new Promise((done) => server.close(done));
  return port;
}
