import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import {
  MAX_ADDRESSES_PER_PEER,
  MAX_REMEMBERED_PEERS,
  PeerBook,
  REDIAL_FIRST_MS,
  REDIAL_JITTER,
  REDIAL_MAX_MS,
  STALE_FAILURES,
  STALE_MS,
} from '../../../node/net/peer-book.ts';
import { scratch } from './support.ts';

const nobody = () => false;

async function bookAt(now = { value: 1_000_000 }, random = () => 0) {
  const path = join(await scratch(), 'peers.json');
  return { path, now, book: new PeerBook({ path }, { now: () => now.value, random }) };
}

const address = (name: string, n = 0) => `/ip4/10.0.0.${n}/tcp/1/p2p/${name}`;
const ids = (book: PeerBook) => book.all().map(({ id }) => id);

describe('what a node remembers of its peers', () => {
  test('survives a restart', async () => {
    const { path, book, now } = await bookAt();
    book.learn('boot', [address('boot')], 'configured');
    book.learn('met', [address('met')], 'peer');
    book.connected('met');
    book.learn('heard', [address('heard')], 'hearsay');
    await book.flush();
    const next = new PeerBook({ path });
    await next.load();
    expect(next.all()).toMatchObject([
      { id: 'boot', addresses: [address('boot')], lastSeen: 0, bootstrap: true },
      { id: 'met', addresses: [address('met')], lastSeen: now.value, bootstrap: false },
      { id: 'heard', lastSeen: 0, bootstrap: false },
    ]);
  });

  test.each(['', '{', '[{"id":1}]', 'null'])('starts empty from a damaged file: %j', async (text) => {
    const { path, book } = await bookAt();
    await writeFile(path, text);
    await book.load();
    expect(book.all()).toEqual([]);
    book.learn('new', [address('new')], 'hearsay');
    await book.flush();
    expect(JSON.parse(await readFile(path, 'utf8'))).toHaveLength(1);
  });

  test('is bounded, in memory and when a file says more', async () => {
    const { path, book } = await bookAt();
    for (let i = 0; i < MAX_REMEMBERED_PEERS; i++) book.learn(`p${i}`, [address('x', i)], 'hearsay');
    expect(book.all()).toHaveLength(MAX_REMEMBERED_PEERS);
    book.learn('one more', [address('x')], 'hearsay');
    expect(book.all()).toHaveLength(MAX_REMEMBERED_PEERS);
    expect(ids(book)).toContain('one more');
    const many = Array.from({ length: 2 * MAX_REMEMBERED_PEERS }, (_, i) => ({
      id: `f${i}`,
      addresses: Array.from({ length: 3 * MAX_ADDRESSES_PER_PEER }, (_, n) => address(`f${i}`, n)),
      lastSeen: i + 1,
      reached: i + 1,
      bootstrap: false,
    }));
    await book.flush();
    await writeFile(path, JSON.stringify(many));
    const next = new PeerBook({ path });
    await next.load();
    expect(next.all()).toHaveLength(MAX_REMEMBERED_PEERS);
    for (const { addresses } of next.all()) expect(addresses).toHaveLength(MAX_ADDRESSES_PER_PEER);
  });

  test('a flood of hearsay pushes out neither peers that answered nor bootstrap peers', async () => {
    const { book } = await bookAt();
    book.learn('boot', [address('boot')], 'configured');
    for (let i = 0; i < 100; i++) {
      book.learn(`met${i}`, [address('met', i)], 'peer');
      book.reached(`met${i}`);
    }
    for (let i = 0; i < 10 * MAX_REMEMBERED_PEERS; i++) book.learn(`liar${i}`, [address('x')], 'hearsay');
    expect(book.all()).toHaveLength(MAX_REMEMBERED_PEERS);
    expect(ids(book)).toEqual(expect.arrayContaining(['boot', ...Array.from({ length: 100 }, (_, i) => `met${i}`)]));
  });

  test('a book full of peers that answered takes no hearsay, but still a bootstrap peer', async () => {
    const { book, now } = await bookAt();
    for (let i = 0; i < MAX_REMEMBERED_PEERS; i++) {
      book.learn(`met${i}`, [address('met', i)], 'peer');
      now.value++;
      book.reached(`met${i}`);
    }
    book.learn('liar', [address('liar')], 'hearsay');
    expect(ids(book)).not.toContain('liar');
    book.learn('boot', [address('boot')], 'configured');
    expect(ids(book)).toContain('boot');
    expect(ids(book)).not.toContain('met0');
    expect(book.all()).toHaveLength(MAX_REMEMBERED_PEERS);
  });

  test('a book full of peers that only came and said where they are takes new ones: sybils keep nobody out', async () => {
    const { book, now } = await bookAt();
    for (let i = 0; i < MAX_REMEMBERED_PEERS; i++) {
      book.learn(`sybil${i}`, [address('x', i)], 'peer');
      book.connected(`sybil${i}`);
      now.value++;
    }
    for (const name of ['friend', 'other friend']) {
      book.learn(name, [address(name)], 'peer');
      book.reached(name);
      expect(ids(book)).toContain(name);
    }
    for (let i = 0; i < MAX_REMEMBERED_PEERS; i++) book.learn(`late${i}`, [address('x', i)], 'hearsay');
    expect(ids(book)).toEqual(expect.arrayContaining(['friend', 'other friend']));
    expect(book.all()).toHaveLength(MAX_REMEMBERED_PEERS);
  });

  test.each(['failures', 'age'])('a peer that was reached makes room by %s', async (why) => {
    const { book, now } = await bookAt();
    for (let i = 0; i < MAX_REMEMBERED_PEERS; i++) {
      book.learn(`met${i}`, [address('met', i)], 'peer');
      book.reached(`met${i}`);
    }
    const add = () => {
      book.learn('new', [address('new')], 'peer');
      return ids(book).includes('new');
    };
    if (why === 'failures') {
      for (let n = 1; n < STALE_FAILURES; n++) book.failed('met7');
      expect(add()).toBe(false);
      book.failed('met7');
      expect(add()).toBe(true);
      expect(ids(book)).not.toContain('met7');
    } else {
      book.connected('met0');
      now.value += STALE_MS;
      expect(add()).toBe(false);
      now.value++;
      expect(add()).toBe(true);
      // Connected all the time: not old.
      expect(ids(book)).toContain('met0');
    }
  });

  test('who only dialled is to be proven; who was reached is not, also after a restart', async () => {
    const { path, book } = await bookAt();
    for (const id of ['came', 'reached', 'away']) book.learn(id, [address(id)], 'peer');
    book.connected('came');
    book.reached('reached');
    const unproven = (of: PeerBook) => of.unproven((id) => id !== 'away').map(({ id }) => id);
    expect(unproven(book)).toEqual(['came']);
    book.failed('came');
    expect(unproven(book)).toEqual([]);
    await book.flush();
    const next = new PeerBook({ path });
    await next.load();
    expect(unproven(next)).toEqual(['came']);
  });

  test('hearsay takes no address away from a peer that answered or that is configured', async () => {
    const { book } = await bookAt();
    const lies = Array.from({ length: 2 * MAX_ADDRESSES_PER_PEER }, (_, i) => address('lie', i));
    book.learn('boot', [address('boot')], 'configured');
    book.learn('met', [address('met')], 'peer');
    book.connected('met');
    for (const id of ['boot', 'met']) {
      book.learn(id, lies, 'hearsay');
      expect(book.all().find((peer) => peer.id === id)!.addresses).toContain(address(id));
    }
  });

  test('a peer that moved is reached by what it says itself, a configured address stays', async () => {
    const { book } = await bookAt();
    book.learn('boot', [address('boot')], 'configured');
    for (let i = 1; i <= 2 * MAX_ADDRESSES_PER_PEER; i++) {
      book.learn('boot', [address('boot', i)], 'peer');
      const { addresses } = book.all()[0]!;
      expect(addresses).toContain(address('boot', i));
      expect(addresses).toContain(address('boot'));
      expect(addresses.length).toBeLessThanOrEqual(MAX_ADDRESSES_PER_PEER);
    }
    expect(book.all()[0]!.bootstrap).toBe(true);
  });
});

describe('when a peer is dialled again', () => {
  test('the wait doubles from the first to the longest and never ends', async () => {
    const { book, now } = await bookAt();
    book.learn('p', [address('p')], 'peer');
    expect(book.due(nobody)).toHaveLength(1);
    const waits: number[] = [];
    for (let i = 0; i < 2_000; i++) {
      book.failed('p');
      expect(book.due(nobody)).toEqual([]);
      const wait = Math.min(REDIAL_MAX_MS, REDIAL_FIRST_MS * 2 ** i);
      now.value += wait - 1;
      expect(book.due(nobody)).toEqual([]);
      now.value += 1;
      expect(book.due(nobody)).toHaveLength(1);
      waits.push(wait);
    }
    expect(waits[0]).toBe(REDIAL_FIRST_MS);
    expect(waits.at(-1)).toBe(REDIAL_MAX_MS);
  });

  test('jitter only shortens a wait, by its share', async () => {
    const { book, now } = await bookAt({ value: 0 }, () => 1);
    book.learn('p', [address('p')], 'peer');
    book.failed('p');
    now.value = REDIAL_FIRST_MS * (1 - REDIAL_JITTER) - 1;
    expect(book.due(nobody)).toEqual([]);
    now.value += 1;
    expect(book.due(nobody)).toHaveLength(1);
  });

  test('a connection ends the wait; connected and addressless peers are not due', async () => {
    const { book } = await bookAt();
    book.learn('p', [address('p')], 'peer');
    book.learn('silent', [], 'peer');
    book.failed('p');
    book.reached('p');
    expect(book.due(nobody).map(({ id }) => id)).toEqual(['p']);
    expect(book.due((id) => id === 'p')).toEqual([]);
  });

  test('the least tried come first, and of those the ones seen last', async () => {
    const { book, now } = await bookAt();
    for (const id of ['failed', 'old', 'young']) book.learn(id, [address(id)], 'peer');
    book.connected('old');
    now.value++;
    book.connected('young');
    book.failed('failed');
    now.value += REDIAL_MAX_MS;
    expect(book.due(nobody).map(({ id }) => id)).toEqual(['young', 'old', 'failed']);
  });

  test('word of peers that nobody learned is passed over', async () => {
    const { book } = await bookAt();
    book.connected('stranger');
    book.reached('stranger');
    book.disconnected('stranger');
    book.failed('stranger');
    expect(book.all()).toEqual([]);
  });
});
