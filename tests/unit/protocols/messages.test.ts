import { encode } from '@ipld/dag-cbor';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { MAX_ANSWER_BYTES, MAX_PAYLOADS_PER_REQUEST } from '../../../protocols/blocks/constants.ts';
import * as blocks from '../../../protocols/blocks/schema.ts';
import { ProtocolError } from '../../../protocols/errors.ts';
import {
  BLOCK_BYTES,
  MAX_ENTRY_BYTES,
  MAX_INLINE_PAYLOAD_BYTES,
  MAX_SIGNED_HEAD_BYTES,
  MAX_SIGNED_RECORD_BYTES,
} from '../../../protocols/limits.ts';
import { encodeRefusal, MAX_RETRY_AFTER_MS } from '../../../protocols/messages.ts';
import * as peers from '../../../protocols/peers/schema.ts';
import {
  MAX_COMPARED,
  MAX_NAMED,
  MAX_PAGE_BYTES,
  MAX_PAGE_ENTRIES,
  MAX_PREFIX,
  MAX_PREFIXES_BYTES,
  MAX_WANT_ITEMS,
  TAG_BYTES,
} from '../../../protocols/sync/constants.ts';
import {
  packChoices,
  packPrefixes,
  unpackChoices,
  unpackNodes,
  unpackPrefixes,
} from '../../../protocols/sync/packing.ts';
import * as sync from '../../../protocols/sync/schema.ts';
import { gossipOptions, messageId } from '../../../protocols/updates/gossip-options.ts';
import { decodeUpdate, encodeUpdate, headsTopic, sealsTopic, updatesTopic } from '../../../protocols/updates/schema.ts';
import { MAX_LEAF_IDS } from '../../../src/log/index.ts';
import { testId } from '../log/helpers.ts';

const bytes = (size: number) => new Uint8Array(size).fill(7);
const largestWant = () => {
  const prefixes: string[] = Array(MAX_WANT_ITEMS).fill('f'.repeat(MAX_PREFIX));
  const some = packChoices(prefixes.map((prefix) => ({ prefix, places: [0, MAX_LEAF_IDS - 1] })));
  return { kind: 'want', whole: packPrefixes(prefixes), some, ids: bytes(32 * MAX_NAMED), last: false } as const;
};

function codeOf(call: () => unknown): string {
  try {
    call();
  } catch (error) {
    if (error instanceof ProtocolError) return error.code;
    throw error;
  }
  return 'none';
}

describe('every message at its largest', () => {
  test('passes its own limits', () => {
    const hello = {
      kind: 'hello',
      charter: testId(0),
      digest: bytes(32),
      size: 2 ** 53 - 1,
      head: bytes(32),
      salt: bytes(16),
    };
    expect(sync.decodeRequest(sync.encodeRequest(hello as sync.SyncRequest))).toMatchObject({ kind: 'hello' });
    const heads = { kind: 'heads', head: bytes(MAX_SIGNED_HEAD_BYTES), want: true } as const;
    expect(sync.decodeRequest(sync.encodeRequest(heads))).toMatchObject({ kind: 'heads' });
    const compare = {
      kind: 'compare',
      prefixes: packPrefixes(Array(MAX_COMPARED).fill('f'.repeat(MAX_PREFIX))),
    } as const;
    expect(sync.decodeRequest(sync.encodeRequest(compare))).toMatchObject({ kind: 'compare' });
    expect(sync.decodeRequest(sync.encodeRequest(largestWant()))).toMatchObject({ kind: 'want' });
    const leaf = Uint8Array.of(MAX_LEAF_IDS, ...bytes(MAX_LEAF_IDS * TAG_BYTES));
    const nodes = { status: 'nodes', nodes: new Uint8Array(Buffer.concat(Array(MAX_COMPARED).fill(leaf))) } as const;
    expect(sync.decodeAnswer(sync.encodeAnswer(nodes), 'p')).toMatchObject({ status: 'nodes' });
    // Short entries in the largest number; and one of full size above the bytes of a page.
    const size = MAX_PAGE_BYTES / (MAX_PAGE_ENTRIES - 1);
    const short = Array.from({ length: MAX_PAGE_ENTRIES - 1 }, () => bytes(size));
    const page = { status: 'page', entries: [...short, bytes(MAX_ENTRY_BYTES)], done: false } as const;
    expect(sync.decodeAnswer(sync.encodeAnswer({ ...page, entries: [...page.entries] }), 'p')).toBeDefined();
    const block = { status: 'block', bytes: bytes(BLOCK_BYTES) } as const;
    expect(blocks.decodeAnswer(blocks.encodeAnswer(block), 'p')).toMatchObject({ status: 'block' });
    const bundle = {
      status: 'payloads',
      payloads: Array.from({ length: MAX_PAYLOADS_PER_REQUEST }, () => [bytes(5_000), bytes(60_000)] as const),
    } as const;
    const came = blocks.decodeAnswer(blocks.encodeAnswer(bundle), 'p') as typeof bundle;
    const sizes = came.payloads.map((parts) => parts.map(({ length }) => length));
    expect(sizes).toEqual(Array.from({ length: MAX_PAYLOADS_PER_REQUEST }, () => [5_000, 60_000]));
    const list = { status: 'peers', peers: Array(32).fill(Array(8).fill(bytes(320))) } as const;
    expect(peers.decodeAnswer(peers.encodeAnswer({ ...list, peers: [...list.peers] }), 'p').peers).toHaveLength(32);
    const update = { record: bytes(MAX_SIGNED_RECORD_BYTES), payload: bytes(MAX_INLINE_PAYLOAD_BYTES) };
    expect(decodeUpdate(encodeUpdate(update)).payload).toHaveLength(MAX_INLINE_PAYLOAD_BYTES);
  });

  test('is refused one step above', () => {
    expect(codeOf(() => encodeUpdate({ record: bytes(MAX_SIGNED_RECORD_BYTES + 1), payload: null }))).toBe('TOO_LARGE');
    const payload = bytes(MAX_INLINE_PAYLOAD_BYTES + 1);
    expect(codeOf(() => encodeUpdate({ record: bytes(1), payload }))).toBe('TOO_LARGE');
    expect(codeOf(() => decodeUpdate(encode({ record: bytes(1), payload })))).toBe('MALFORMED');
    const head = encode({ status: 'block' });
    const block = (size: number) => Buffer.concat([Uint8Array.of(0, 0, head.length), head, bytes(size)]);
    expect(blocks.decodeAnswer(block(BLOCK_BYTES), 'p')).toMatchObject({ status: 'block' });
    expect(codeOf(() => blocks.decodeAnswer(block(BLOCK_BYTES + 1), 'p'))).toBe('MALFORMED');
    expect(codeOf(() => blocks.decodeAnswer(block(MAX_ANSWER_BYTES), 'p'))).toBe('TOO_LARGE');
    const compare = { kind: 'compare', prefixes: bytes(MAX_PREFIXES_BYTES + 1) };
    expect(codeOf(() => sync.decodeRequest(encode(compare)))).toBe('MALFORMED');
    const want = largestWant();
    for (const field of ['whole', 'some', 'ids'] as const) {
      const more = { ...want, [field]: new Uint8Array(want[field].length + 32) };
      expect(codeOf(() => sync.decodeRequest(encode(more)))).toBe('MALFORMED');
    }
    const half = { kind: 'lacks', count: 1, ids: bytes(33) };
    expect(codeOf(() => sync.decodeRequest(encode(half)))).toBe('MALFORMED');
  });
});

describe('a message that is not of its form', () => {
  const good = { kind: 'block', manifest: testId(1), index: 0 };
  test.each([
    ['a missing field', { kind: 'block', manifest: testId(1) }],
    ['an extra field', { ...good, more: 1 }],
    ['an unknown kind', { ...good, kind: 'blob' }],
    ['a negative index', { ...good, index: -1 }],
    ['a fraction', { ...good, index: 0.5 }],
    ['text for an id', { ...good, manifest: testId(1).toString() }],
    ['bytes for an id', { ...good, manifest: testId(1).bytes }],
    ['a list', [good]],
    ['null', null],
  ])('%s is MALFORMED', (_name, value) => {
    expect(codeOf(() => blocks.decodeRequest(encode(value)))).toBe('MALFORMED');
  });

  test('another encoding of the same message is MALFORMED', () => {
    const canonical = encode(good);
    expect(blocks.decodeRequest(canonical)).toEqual(good);
    const longer = Uint8Array.from([...canonical.slice(0, -1), 0x18, 0x00]);
    const trailing = Uint8Array.from([...canonical, 0]);
    for (const other of [longer, trailing]) expect(codeOf(() => blocks.decodeRequest(other))).toBe('MALFORMED');
    // The same map with its keys in another order.
    const record = [...encode('record'), ...encode(bytes(1))];
    const payload = [...encode('payload'), 0xf6];
    expect(decodeUpdate(Uint8Array.from([0xa2, ...record, ...payload])).record).toEqual(bytes(1));
    expect(codeOf(() => decodeUpdate(Uint8Array.from([0xa2, ...payload, ...record])))).toBe('MALFORMED');
  });

  test('deep nesting is MALFORMED, not a crash', () => {
    const deep = new Uint8Array(1_000).fill(0x81);
    expect(codeOf(() => blocks.decodeRequest(deep))).toBe('MALFORMED');
    expect(codeOf(() => decodeUpdate(new Uint8Array(200_000).fill(0x81)))).toBe('MALFORMED');
  });

  test('random bytes give a ProtocolError from every decoder, and nothing else', () => {
    const decoders = [
      (input: Uint8Array) => blocks.decodeRequest(input),
      (input: Uint8Array) => blocks.decodeAnswer(input, 'p'),
      (input: Uint8Array) => sync.decodeRequest(input),
      (input: Uint8Array) => sync.decodeAnswer(input, 'p'),
      (input: Uint8Array) => peers.decodeRequest(input),
      (input: Uint8Array) => peers.decodeAnswer(input, 'p'),
      decodeUpdate,
    ];
    const valid = [encode(good), encode({ record: bytes(3), payload: null }), encodeRefusal('busy', 5)];
    const mutated = fc
      .tuple(fc.constantFrom(...valid), fc.nat(), fc.integer({ min: 0, max: 255 }))
      .map(([base, at, value]) => base.with(at % base.length, value));
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array({ maxLength: 200 }), mutated), (input) => {
        for (const decode of decoders) codeOf(() => decode(input));
      }),
      { numRuns: 500 },
    );
  });
});

describe('packed sync data', () => {
  test('comes back as it was', () => {
    const prefixes = ['', '0', 'a1', '00f', 'f'.repeat(MAX_PREFIX)];
    expect(unpackPrefixes(packPrefixes(prefixes), 5)).toEqual(prefixes);
    const choices = [
      { prefix: 'ab', places: [0, 31] },
      { prefix: '', places: [] },
    ];
    expect(unpackChoices(packChoices(choices), 2)).toEqual(choices);
    expect(unpackNodes(Uint8Array.of(0, 1, 0, 0, 1, 0, 255, 128, 1, 0, 0, 0, 5, 0, 0, 0, 6), 3, 'p')).toEqual([
      { kind: 'leaf', tags: [] },
      { kind: 'leaf', tags: [256] },
      { kind: 'branch', tags: [5, ...Array(14).fill(undefined), 6] },
    ]);
  });

  test.each([
    ['a prefix that is too long', () => unpackPrefixes(Uint8Array.of(MAX_PREFIX + 1, ...bytes(9)), 9)],
    ['a prefix that ends too early', () => unpackPrefixes(Uint8Array.of(3, 1), 9)],
    ['a prefix that is not filled up with 0', () => unpackPrefixes(Uint8Array.of(1, 0x12), 9)],
    ['too many prefixes', () => unpackPrefixes(Uint8Array.of(0, 0, 0), 2)],
    ['a choice without places', () => unpackChoices(Uint8Array.of(1, 0x10, 0, 0), 2)],
    ['a leaf that is too large', () => unpackNodes(Uint8Array.of(MAX_LEAF_IDS + 1, ...bytes(132)), 1, 'p')],
    ['a leaf that ends too early', () => unpackNodes(Uint8Array.of(1, 0, 0, 0), 1, 'p')],
    ['a branch without children', () => unpackNodes(Uint8Array.of(255, 0, 0), 1, 'p')],
    ['too few nodes', () => unpackNodes(Uint8Array.of(0), 2, 'p')],
    ['too many nodes', () => unpackNodes(Uint8Array.of(0, 0), 1, 'p')],
  ])('%s is MALFORMED', (_name, call) => {
    expect(codeOf(call)).toBe('MALFORMED');
  });
});

describe('a refusal', () => {
  test.each([
    ['busy', 'BUSY'],
    ['rate-limited', 'RATE_LIMITED'],
    ['wrong-community', 'WRONG_COMMUNITY'],
    ['malformed', 'REFUSED'],
    ['failed', 'REFUSED'],
  ] as const)('for %s becomes %s', (reason, code) => {
    expect(codeOf(() => blocks.decodeAnswer(encodeRefusal(reason, 12), 'p'))).toBe(code);
  });

  test('asks for no longer wait than its bound', () => {
    expect(() => encodeRefusal('busy', 1e12)).not.toThrow();
    const endless = encode({ status: 'refused', reason: 'busy', retryAfterMs: MAX_RETRY_AFTER_MS + 1 });
    expect(codeOf(() => blocks.decodeAnswer(endless, 'p'))).toBe('MALFORMED');
  });
});

describe('gossip', () => {
  test('a message id covers the topic and all data, without ambiguity between them', () => {
    const id = (topic: string, data: Uint8Array) => Buffer.from(messageId({ topic, data })).toString('hex');
    const all = [
      id('a', bytes(2)),
      id('b', bytes(2)),
      id('a', bytes(3)),
      id('a\u0007', bytes(1)),
      id('', Uint8Array.from([97, 7, 7])),
    ];
    expect(new Set(all).size).toBe(all.length);
    expect(id('a', bytes(2))).toBe(all[0]);
  });

  test('is open for the topics of the communities only, with a price on every one', () => {
    const options = gossipOptions([testId(1), testId(2)]);
    const topics = [testId(1), testId(2)].flatMap((id) => [updatesTopic(id), headsTopic(id), sealsTopic(id)]);
    expect(options.allowedTopics).toEqual(topics);
    expect(options.fallbackToFloodsub).toBe(false);
    expect(Object.keys(options.scoreParams?.topics ?? {})).toEqual(topics);
    for (const params of Object.values(options.scoreParams?.topics ?? {})) {
      expect(params.invalidMessageDeliveriesWeight).toBeLessThan(0);
    }
  });
});
