import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, onTestFinished, test } from 'vitest';
import { BadLink, type BadLinkOptions } from './bad-link.ts';

/** A server that sends back what it gets, a link before it, and a connection through that. */
async function echo(options: Omit<BadLinkOptions, 'target'>): Promise<{ link: BadLink; socket: Socket }> {
  const server = createServer({ noDelay: true }, (peer) => {
    peer.on('error', () => {});
    peer.pipe(peer);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const link = await BadLink.open({ target: (server.address() as AddressInfo).port, ...options });
  const socket = connect({ port: link.port, noDelay: true });
  socket.on('error', () => {});
  onTestFinished(async () => {
    socket.destroy();
    await link.close();
    server.close();
  });
  await once(socket, 'connect');
  return { link, socket };
}

/** Sends bytes and waits for as many back; returns them and the milliseconds it took. */
async function roundTrip(socket: Socket, bytes: Buffer): Promise<{ back: Buffer; took: number }> {
  const started = performance.now();
  socket.write(bytes);
  const parts: Buffer[] = [];
  let length = 0;
  while (length < bytes.length) {
    const [part] = (await once(socket, 'data')) as [Buffer];
    parts.push(part);
    length += part.length;
  }
  return { back: Buffer.concat(parts), took: performance.now() - started };
}

const noise = (length: number) => Buffer.from(Array.from({ length }, (_, i) => (i * 31) & 0xff));

describe('a bad link', () => {
  test('passes what it gets, late, and counts it', async () => {
    const { link, socket } = await echo({ behaviour: { delayMs: 60 } });
    const sent = noise(300_000);
    const { back, took } = await roundTrip(socket, sent);
    expect(back.equals(sent)).toBe(true);
    expect(took).toBeGreaterThanOrEqual(119);
    expect(link.counts).toMatchObject({ bytes: 600_000, connections: 1 });
  });

  test('keeps to its rate in each direction', async () => {
    const { socket } = await echo({ behaviour: { bytesPerSecond: 500_000 } });
    const { took } = await roundTrip(socket, noise(200_000));
    // 400 ms but for the last piece, which is read as it comes: 64 KiB at most.
    expect(took).toBeGreaterThan(250);
  });

  test('passes nothing while it is cut, and all of it once it is healed', async () => {
    const { link, socket } = await echo({});
    await roundTrip(socket, noise(10));
    link.cut();
    const pending = roundTrip(socket, noise(20));
    expect(await Promise.race([pending, sleep(200)])).toBeUndefined();
    expect(link.counts.bytes).toBe(20);
    link.heal();
    expect((await pending).back).toEqual(noise(20));
  });

  test('passes what one dialler sends and not what another does', async () => {
    const shut = new Set<number>();
    const { link, socket } = await echo({ passes: (port) => !shut.has(port) });
    const other = connect({ port: link.port });
    await once(other, 'connect');
    shut.add(other.localPort!);
    const pending = roundTrip(other, noise(5));
    expect((await roundTrip(socket, noise(5))).back).toEqual(noise(5));
    expect(await Promise.race([pending, sleep(100)])).toBeUndefined();
    shut.clear();
    link.wake();
    await pending;
    other.destroy();
  });

  test('hands on how a connection ends', async () => {
    const { socket } = await echo({});
    await roundTrip(socket, noise(5));
    const closed = once(socket, 'close');
    socket.end();
    expect(await closed).toEqual([false]);
  });

  test('stalls and resets at times that the seed decides', async () => {
    const behaviour = { stall: { everyMs: 20, forMs: [10, 20] as const }, reset: { everyMs: 200 } };
    const { link, socket } = await echo({ behaviour, seed: 5 });
    expect(await new Promise((resolve) => socket.once('close', resolve))).toBe(true);
    expect(link.counts.resets).toBe(1);
    expect(link.counts.stalls).toBeGreaterThan(0);
  });
});
