import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { generateKeyPair } from '@libp2p/crypto/keys';
import { multiaddr } from '@multiformats/multiaddr';
import { expect, onTestFinished, test } from 'vitest';
import type { DaemonReady } from '../../node/daemon.ts';
import { createHost, encodeUpdate, updatesTopic } from '../../protocols/index.ts';
import { encodeSigned, generateKey } from '../../src/log/index.ts';
import { eventually, makePond, payloadOf, updateOf } from '../unit/node/support.ts';

const BINARY = fileURLToPath(new URL('../../bin/kinmerge.js', import.meta.url));

/** Runs a verb to its end; rejects when it fails. */
async function verb(home: string, ...args: string[]) {
  const { stdout } = await promisify(execFile)(process.execPath, [BINARY, ...args, '--home', home, '--json']);
  return JSON.parse(stdout);
}

test('a daemon process outlives hostile peers and tells what it thinks of their updates', async () => {
  const pond = await makePond();
  const home = pond.home.root;
  const daemon = spawn(
    process.execPath,
    [BINARY, 'daemon', '--home', home, '--json', '--listen', '/ip4/127.0.0.1/tcp/0', '--workers', '1'],
    { stdio: ['ignore', 'pipe', 'ignore'] },
  );
  const ended = once(daemon, 'exit');
  onTestFinished(async () => {
    daemon.kill('SIGKILL');
    await ended;
  });
  const [line] = await once(createInterface(daemon.stdout), 'line');
  const ready: DaemonReady = JSON.parse(String(line));

  const topic = updatesTopic(pond.charterId);
  const speak = async (...messages: Uint8Array[]) => {
    const host = await createHost(
      { privateKey: await generateKeyPair('Ed25519'), listen: [], version: '0', communities: [pond.charterId] },
      {},
    );
    onTestFinished(() => host.stop());
    host.services.gossip.subscribe(topic);
    await host.dial(ready.addresses.map((address) => multiaddr(address)));
    await eventually(() => expect(host.services.gossip.getSubscribers(topic)).toHaveLength(1));
    for (const message of messages) await host.services.gossip.publish(topic, message);
  };
  const message = (update: Awaited<ReturnType<typeof updateOf>>, record = encodeSigned(update.signed)) =>
    encodeUpdate({ record, payload: update.payload });

  const good = payloadOf(pond, 1);
  const lying = await updateOf(pond, generateKey(), good.subarray(0, good.length - 1));
  const forged = await updateOf(pond, generateKey(), payloadOf(pond, 2));
  await speak(message(forged, encodeSigned({ ...forged.signed, signature: new Uint8Array(64) })));
  await speak(new Uint8Array(1000), new Uint8Array(3 * 2 ** 20));
  await speak(message(lying));
  await eventually(async () => expect((await verb(home, 'status')).log.declined).toBe(1));
  const why = await verb(home, 'why', lying.signed.id.toString());
  expect(why).toMatchObject({ verdict: 'declined', gate: 'bounds' });

  const honest = await updateOf(pond, generateKey(), payloadOf(pond, 3), { title: 'honest' });
  await speak(message(honest));
  await eventually(async () => {
    const status = await verb(home, 'status');
    expect(status.log).toEqual({ held: 2, pending: 0, accepted: 1, declined: 1 });
    expect(status.checkpoint?.recipe).toBe(status.recipe.id);
    expect(status.problem).toBeNull();
    expect(status.daemon.pid).toBe(daemon.pid);
  }, 30_000);

  daemon.kill('SIGTERM');
  expect(await ended).toEqual([0, null]);
  // Nothing was only in memory: the home says the same without its daemon.
  expect((await verb(home, 'log')).updates.map((update: { verdict: string }) => update.verdict).sort()).toEqual([
    'accepted',
    'declined',
  ]);
}, 90_000);
