import { generateKeyPair } from '@libp2p/crypto/keys';
import type { PeerId } from '@libp2p/interface';
import { peerIdFromPrivateKey } from '@libp2p/peer-id';
import { describe, expect, test } from 'vitest';
import { inTurns } from '../../../node/net/fetch-turns.ts';
import { Fetcher, LOOK_INTERVAL_MS } from '../../../node/net/fetcher.ts';
import { FAULT_HALF_LIFE_MS, PeerFaults } from '../../../node/net/peer-faults.ts';
import { type Blocks, ProtocolError, type ProtocolErrorCode } from '../../../protocols/index.ts';
import { makePond, newHome, openBook, silent, updates } from './support.ts';

const peer = async (): Promise<PeerId> => peerIdFromPrivateKey(await generateKeyPair('Ed25519'));
const fault = (code: ProtocolErrorCode) => new ProtocolError(code, 'a test', {});

describe('the order in which peers are asked', () => {
  test('puts who failed last, forgives with time, and knows what is no fault', async () => {
    const now = { value: 0 };
    const faults = new PeerFaults({ now: () => now.value });
    const [bad, good, new1] = await Promise.all([peer(), peer(), peer()]);
    for (let i = 0; i < 3; i++) faults.note(bad, fault('TIMEOUT'));
    for (const code of ['NOT_FOUND', 'BUSY', 'RATE_LIMITED'] as const) faults.note(good, fault(code));
    for (let i = 0; i < 20; i++) {
      expect(faults.order([bad, good, new1]).at(-1)).toBe(bad);
      expect(faults.order([bad, good, new1], new1.toString())[0]).toBe(new1);
      // Who brought a record is asked first only among equals.
      expect(faults.order([bad, good, new1], bad.toString()).at(-1)).toBe(bad);
    }
    now.value += 10 * FAULT_HALF_LIFE_MS;
    expect(faults.order([good, bad], bad.toString())[0]).toBe(bad);
  });
});

describe('the order in which payloads are fetched', () => {
  const want = (key: string, author: string, source: string, tries = 0) => ({ key, author, source, tries });

  test('takes turns between authors and between peers', () => {
    const flood = Array.from({ length: 100 }, (_, i) => want(`f${i}`, 'liar', `peer ${i}`));
    expect(inTurns([...flood, want('honest', 'ada', 'relay')]).findIndex(({ key }) => key === 'honest')).toBeLessThan(
      2,
    );
    const sybils = Array.from({ length: 100 }, (_, i) => want(`s${i}`, `liar ${i}`, 'peer'));
    expect(inTurns([...sybils, want('honest', 'ada', 'relay')]).findIndex(({ key }) => key === 'honest')).toBeLessThan(
      2,
    );
  });

  test('puts what failed behind what was never tried, and keeps the order of arrival among equals', () => {
    const order = inTurns([want('failed', 'a', 'p', 5), want('first', 'b', 'q'), want('second', 'c', 'r')]);
    expect(order.map(({ key }) => key)).toEqual(['first', 'second', 'failed']);
  });
});

describe('the look at what is missing', () => {
  test('is taken at most once in an interval, however many records arrive', async () => {
    const pond = await makePond();
    const book = await openBook(pond, await newHome(pond));
    for (const { signed } of await updates(pond, 5)) await book.take(signed, null, 'peer');
    let looks = 0;
    const missing = book.log.missing.bind(book.log);
    book.log.missing = () => {
      looks++;
      return missing();
    };
    const blocks = {} as Blocks;
    const fetcher = new Fetcher({ book, blocks, peers: () => [], logger: silent });
    const started = performance.now();
    for (let i = 0; i < 2_000; i++) fetcher.poke();
    expect(looks).toBe(1);
    await new Promise((resolve) => setTimeout(resolve, 2 * LOOK_INTERVAL_MS));
    expect(looks).toBeGreaterThan(1);
    expect(looks).toBeLessThanOrEqual(1 + (performance.now() - started) / LOOK_INTERVAL_MS);
    await fetcher.stop();
  });
});
