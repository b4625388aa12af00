/** Real libp2p nodes on loopback, stopped after each test. */

import { decode, encode } from '@ipld/dag-cbor';
import { generateKeyPair } from '@libp2p/crypto/keys';
import type { Libp2p, PeerId, ServiceMap, Stream } from '@libp2p/interface';
import { lpStream } from '@libp2p/utils';
import type { ServiceFactoryMap } from 'libp2p';
import type { CID } from 'multiformats/cid';
import { afterEach, vi } from 'vitest';
import { createHost, type HostServices, ProtocolError } from '../../../protocols/index.ts';
import { testCharter } from '../../unit/log/helpers.ts';

const cleanups: (() => unknown)[] = [];

afterEach(async () => {
  for (let next = cleanups.pop(); next !== undefined; next = cleanups.pop()) await next();
});

export function onCleanup(action: () => unknown): void {
  cleanups.push(action);
}

export const COMMUNITY: CID = testCharter().id;

export async function startNode<T extends ServiceMap>(
  services: ServiceFactoryMap<T>,
  communities: readonly CID[] = [COMMUNITY],
): Promise<Libp2p<T & HostServices>> {
  const privateKey = await generateKeyPair('Ed25519');
  const node = await createHost(
    { privateKey, listen: ['/ip4/127.0.0.1/tcp/0'], version: '0.0.0-test', communities },
    services,
  );
  onCleanup(() => node.stop());
  return node;
}

/** A peer that answers with whatever `handler` does on the raw stream. */
export async function startRawPeer(protocol: string, handler: (stream: Stream) => unknown): Promise<Libp2p> {
  const node = await startNode({});
  await node.handle(protocol, async (stream) => {
    try {
      await handler(stream);
    } catch {
      // The other side gave up, which is what these tests want to see.
    }
  });
  return node;
}

export async function connect(from: Libp2p, to: Libp2p): Promise<PeerId> {
  await from.dial(to.getMultiaddrs());
  return to.peerId;
}

/** Reads dag-cbor requests from a raw stream and sends what `answer` makes of each, as it is. */
export async function answerRaw(
  stream: Stream,
  answer: (request: Record<string, unknown>, count: number) => Uint8Array | undefined,
): Promise<void> {
  const messages = lpStream(stream);
  for (let count = 0; ; count++) {
    const request: Record<string, unknown> = decode((await messages.read()).subarray());
    const reply = answer(request, count);
    if (reply === undefined) return;
    await messages.write(reply);
  }
}

export function cbor(value: unknown): Uint8Array {
  return encode(value);
}

/** An answer with content behind its head, as `/kinmerge/blocks/1` has it. */
export function withContent(head: unknown, ...content: readonly Uint8Array[]): Uint8Array {
  const bytes = encode(head);
  return Buffer.concat([Uint8Array.of(0, bytes.length >> 8, bytes.length & 255), bytes, ...content]);
}

export async function failure(promise: Promise<unknown>): Promise<ProtocolError> {
  try {
    await promise;
  } catch (error) {
    if (error instanceof ProtocolError) return error;
    throw error;
  }
  throw new Error('expected a ProtocolError');
}

export function eventually(check: () => void | Promise<void>, timeout = 10_000): Promise<void> {
  return vi.waitFor(check, { timeout, interval: 20 });
}

/** Bytes that look random and are the same in every run. */
export function noise(size: number, seed = 1): Uint8Array {
  const words = new Uint32Array(Math.ceil(size / 4));
  let state = seed;
  for (let i = 0; i < words.length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    words[i] = state;
  }
  return new Uint8Array(words.buffer, 0, size);
}
