import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { generateKeyPair } from '@libp2p/crypto/keys';
import { noise } from '@libp2p/noise';
import { tcp } from '@libp2p/tcp';
import { yamux } from '@libp2p/yamux';
import { multiaddr } from '@multiformats/multiaddr';
import { createLibp2p } from 'libp2p';
import { describe, expect, test } from 'vitest';
import { OPEN_OLDEST_TIMEOUT_MS } from '../../../protocols/components.ts';
import { type Blocks, blocks, createHost, peerScore } from '../../../protocols/index.ts';
import { BadLink } from '../../support/bad-link.ts';
import { COMMUNITY, connect, eventually, failure, onCleanup, startNode } from './support.ts';

describe('a host', () => {
  test('keeps the identity of its key and tells its version', async () => {
    const privateKey = await generateKeyPair('Ed25519');
    const init = { privateKey, listen: ['/ip4/127.0.0.1/tcp/0'], version: '1.2.3', communities: [] };
    const first = await createHost(init, {});
    await first.stop();
    const second = await createHost(init, {});
    onCleanup(() => second.stop());
    expect(second.peerId.equals(first.peerId)).toBe(true);
    const other = await startNode({});
    const peer = await connect(other, second);
    await eventually(async () => {
      const { metadata } = await other.peerStore.get(peer);
      expect(Buffer.from(metadata.get('AgentVersion') ?? []).toString()).toMatch(/^kinmerge\/1\.2\.3/);
    });
  });

  test('encrypts with TLS among its own kind and with noise for others', async () => {
    const [a, b] = await Promise.all([startNode({}), startNode({})]);
    await connect(a, b);
    expect(a.getConnections(b.peerId)[0]?.encryption).toContain('tls');
    const plain = await createLibp2p({
      transports: [tcp()],
      connectionEncrypters: [noise()],
      streamMuxers: [yamux()],
    });
    onCleanup(() => plain.stop());
    await plain.dial(a.getMultiaddrs());
    expect(plain.getConnections(a.peerId)[0]?.encryption).toContain('noise');
  });

  test('takes many connections from one machine at once, and all of them stay', async () => {
    const hub = await startNode({});
    const nodes = await Promise.all(Array.from({ length: 12 }, () => startNode({})));
    await Promise.all(nodes.map((node) => connect(node, hub)));
    await eventually(() => expect(hub.services.gossip.getPeers()).toHaveLength(12));
    expect(hub.getPeers()).toHaveLength(12);
    // More peers behind one address than gossipsub tolerates by default; on loopback that is no fault.
    for (const { peerId } of nodes) expect(peerScore(hub.services.gossip, peerId)).toBeGreaterThanOrEqual(0);
  });

  test('asks over the connection that was there first, whatever else the peer opens and closes', async () => {
    const source = { object: async () => undefined, block: async () => undefined };
    const nodes = await Promise.all([1, 2].map(() => startNode<{ blocks: Blocks }>({ blocks: blocks({ source }) })));
    const [asking, probing] = [nodes[0]!, nodes[1]!];
    const peer = await connect(asking, probing);
    const over = new AbortController();
    onCleanup(() => over.abort());
    const probes = (async () => {
      let count = 0;
      for (; !over.signal.aborted; count++) {
        const probe = await probing.dial(asking.getMultiaddrs(), { force: true });
        await sleep(5);
        await probe.close();
      }
      return count;
    })();
    for (let i = 0; i < 200; i++) {
      const fault = await failure(asking.services.blocks.fetchObject([peer], COMMUNITY));
      expect(fault.code).toBe('NOT_FOUND');
    }
    over.abort();
    expect(await probes).toBeGreaterThan(5);
  });

  test('asks over another connection when the first one is just ending', async () => {
    const source = { object: async () => undefined, block: async () => undefined };
    const nodes = await Promise.all([1, 2].map(() => startNode<{ blocks: Blocks }>({ blocks: blocks({ source }) })));
    const [asking, other] = [nodes[0]!, nodes[1]!];
    const peer = await connect(asking, other);
    await eventually(() => expect(other.getConnections(asking.peerId)).toHaveLength(1));
    const first = other.getConnections(asking.peerId)[0]!;
    await asking.dial(other.getMultiaddrs(), { force: true });
    first.abort(new Error('gone'));
    const fault = await failure(asking.services.blocks.fetchObject([peer], COMMUNITY));
    expect(fault.code).toBe('NOT_FOUND');
  });

  test('asks over the connection that a peer has just opened when the old one is dead without a word', async () => {
    const source = { object: async () => undefined, block: async () => undefined };
    const nodes = await Promise.all([1, 2].map(() => startNode<{ blocks: Blocks }>({ blocks: blocks({ source }) })));
    const [asking, moving] = [nodes[0]!, nodes[1]!];
    const target = Number(asking.getMultiaddrs()[0]!.toString().split('/')[4]);
    const link = await BadLink.open({ target });
    onCleanup(() => link.close());
    await moving.dial(multiaddr(`${link.address}/p2p/${asking.peerId}`));
    await eventually(() => expect(asking.getConnections(moving.peerId)).toHaveLength(1));
    link.cut();
    await moving.dial(asking.getMultiaddrs(), { force: true });
    await eventually(() => expect(asking.getConnections(moving.peerId)).toHaveLength(2));
    const started = performance.now();
    const fault = await failure(asking.services.blocks.fetchObject([moving.peerId], COMMUNITY));
    expect(fault.code).toBe('NOT_FOUND');
    expect(performance.now() - started).toBeLessThan(3 * OPEN_OLDEST_TIMEOUT_MS);
  });

  test('does not speak floodsub', async () => {
    const [a, b] = await Promise.all([startNode({}), startNode({})]);
    const peer = await connect(a, b);
    await expect(a.dialProtocol(peer, '/floodsub/1.0.0')).rejects.toMatchObject({ name: 'UnsupportedProtocolError' });
  });

  test('notices a peer that is frozen', async () => {
    // A separate process, stopped with SIGSTOP: its sockets stay open and nothing answers.
    const script = `
      import { generateKeyPair } from '@libp2p/crypto/keys';
      import { createHost, peerScore } from './protocols/index.ts';
      const privateKey = await generateKeyPair('Ed25519');
      const init = { privateKey, listen: ['/ip4/127.0.0.1/tcp/0'], version: '0', communities: [] };
      const node = await createHost(init, {});
      console.log(String(node.getMultiaddrs()[0]));
    `;
    const child = spawn(process.execPath, ['--input-type=module-typescript', '--eval', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    onCleanup(() => child.kill('SIGKILL'));
    const [line] = await once(child.stdout, 'data');
    const node = await createHost(
      {
        privateKey: await generateKeyPair('Ed25519'),
        listen: [],
        version: '0',
        communities: [],
        monitor: { pingIntervalMs: 300, pingTimeoutMs: 1_000 },
      },
      {},
    );
    onCleanup(() => node.stop());
    await node.dial(multiaddr(String(line).trim()));
    // A live peer stays over several pings.
    await new Promise((resolve) => setTimeout(resolve, 1_000));
    expect(node.getPeers()).toHaveLength(1);
    child.kill('SIGSTOP');
    await eventually(() => expect(node.getPeers()).toHaveLength(0), 20_000);
  });
});
