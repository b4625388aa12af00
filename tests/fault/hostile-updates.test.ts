import { join } from 'node:path';
import * as dagCbor from '@ipld/dag-cbor';
import { describe, expect, test } from 'vitest';
import { loadKey } from '../../node/home/keys.ts';
import { judgeUpdate } from '../../node/net/gossip-judge.ts';
import { blocks, encodeUpdate, fixedSource, MAX_INLINE_PAYLOAD_BYTES, sync } from '../../protocols/index.ts';
import { decodeSigned, encodeSigned, generateKey, LogError } from '../../src/log/index.ts';
import { testId } from '../unit/log/helpers.ts';
import {
  eventually,
  filesBelow,
  keptLog,
  makePond,
  type Pond,
  payloadOf,
  type Update,
  updateOf,
  writeModel,
} from '../unit/node/support.ts';
import { settle, startNode, stranger, type TestNode, takesGoodUpdate } from './support.ts';

/** What a message must not have changed: the log, and every file of the home but the list of peers. */
async function stateOf(node: TestNode) {
  const { log } = node.community.book;
  const files = (await filesBelow(node.home.root)).filter((name) => !name.startsWith('peers.json'));
  return { held: log.size, pending: log.pendingSize, recipe: node.community.view?.recipeId.toString(), files };
}

/** Sends each message from a peer of its own, and expects that none leaves a trace. */
async function expectRefused(pond: Pond, node: TestNode, messages: Record<string, Uint8Array>): Promise<void> {
  await node.community.settled();
  const before = await stateOf(node);
  for (const data of Object.values(messages)) await (await stranger(pond, node)).gossip(data);
  await settle();
  expect(await stateOf(node)).toEqual(before);
}

function codeOf(call: () => unknown): string {
  try {
    call();
  } catch (error) {
    if (error instanceof LogError) return error.code;
    throw error;
  }
  return 'NO_ERROR';
}

/** A payload with the byte at `place` (from the end when negative) changed by `change`. */
function changed(payload: Uint8Array, place: number, change: (byte: number) => number): Uint8Array {
  const bytes = payload.slice();
  const at = place < 0 ? bytes.length + place : place;
  bytes[at] = change(bytes[at]!);
  return bytes;
}

/** Place of the number of tensors in a payload: after magic, version and flags. */
const COUNT_AT = 6;
/** Place of the first entry count: after the header's tensor count and scale, and the section's index. */
const ENTRIES_AT = 15;

describe('a payload whose bytes match its id but lie', () => {
  const lies = (good: Uint8Array): Record<string, [payload: Uint8Array, code: RegExp]> => ({
    'its number of tensors is too large': [changed(good, COUNT_AT, () => 200), /BAD_TENSOR_COUNT/],
    'its number of tensors is too small': [changed(good, COUNT_AT, () => 2), /TRAILING_BYTES/],
    'its number of entries is another': [changed(good, ENTRIES_AT, (byte) => byte ^ 1), /BAD_PADDING/],
    'its last code byte is another': [changed(good, -1, (byte) => byte ^ 1), /BAD_CODER_STATE/],
    'its positions are not those of its count': [changed(good, -40, () => 0xff), /BAD_COUNT/],

    'it ends early': [good.subarray(0, good.length - 7), /TRUNCATED/],
    'it goes on after its end': [Uint8Array.of(...good, 0), /TRAILING_BYTES/],
    'it is another file': [new TextEncoder().encode('#!/bin/sh\necho hello\n'), /BAD_MAGIC/],
    'it is one byte': [Uint8Array.of(0), /TRUNCATED/],
  });

  test('is held and declined by the bounds gate, by everyone alike', async () => {
    const pond = await makePond();
    const node = await startNode(pond);
    const peer = await stranger(pond, node);
    const sent: [lie: string, update: Update, code: RegExp][] = [];
    for (const [lie, [payload, code]] of Object.entries(lies(payloadOf(pond, 1)))) {
      const update = await updateOf(pond, generateKey(), payload, { title: lie });
      await peer.announce(update);
      sent.push([lie, update, code]);
    }
    await eventually(() => expect(node.community.book.log.size).toBe(sent.length));
    for (const [lie, { signed }, code] of sent) {
      await node.community.settled();
      const why = await node.service.why(signed.id.toString());
      expect([lie, why.verdict, why.gate]).toEqual([lie, 'declined', 'bounds']);
      expect(JSON.stringify(why.gates), lie).toMatch(code);
    }
    await takesGoodUpdate(pond, node);

    const late = await startNode(pond, { peers: [node] });
    await eventually(async () => {
      expect((await late.service.status()).recipe.id).toBe((await node.service.status()).recipe.id);
      expect(late.community.book.log.size).toBe(sent.length + 1);
    });
    for (const [, { signed }] of sent) {
      expect(await late.service.why(signed.id.toString())).toEqual(await node.service.why(signed.id.toString()));
    }
  });
});

describe('a message that is provably wrong', () => {
  test('leaves no trace, whatever is wrong with it, and the node goes on', async () => {
    const pond = await makePond();
    const node = await startNode(pond);
    const good = await updateOf(pond, generateKey(), payloadOf(pond, 1));
    const record = encodeSigned(good.signed);
    const parts: { body: Uint8Array; signature: Uint8Array } = dagCbor.decode(record);

    const forged = encodeSigned({ ...good.signed, signature: good.signed.signature.map((byte) => byte ^ 1) });
    expect(codeOf(() => decodeSigned(forged))).toBe('BAD_SIGNATURE');
    const stolen = encodeSigned({
      ...(await updateOf(pond, generateKey(), good.payload)).signed,
      signature: parts.signature,
    });
    expect(codeOf(() => decodeSigned(stolen))).toBe('BAD_SIGNATURE');
    // The same map with its keys in the other order: the length and the meaning stay, the bytes do not.
    const signature = Buffer.from(dagCbor.encode({ signature: parts.signature })).subarray(1);
    const body = Buffer.from(dagCbor.encode({ body: parts.body })).subarray(1);
    const reordered = Uint8Array.from(Buffer.concat([Uint8Array.of(0xa2), signature, body]));
    expect(reordered).toHaveLength(record.length);
    expect(codeOf(() => decodeSigned(reordered))).toBe('NOT_CANONICAL');

    const message = (bytes: Uint8Array, payload: Uint8Array | null = good.payload) =>
      encodeUpdate({ record: bytes, payload });
    const messages = {
      'a wrong signature': message(forged),
      "another record's signature": message(stolen),
      'another encoding of the same record': message(reordered),
      'another payload than the record names': message(record, payloadOf(pond, 2)),
      'a payload cut short': message(record, good.payload.subarray(0, good.payload.length - 1)),
      'half a message': message(record).subarray(0, 300),
      'no message at all': Uint8Array.from({ length: 500 }, (_, i) => i * 7),
      nothing: new Uint8Array(),
    };
    await expectRefused(pond, node, messages);

    const from = (await stranger(pond, node)).host.peerId;
    const none = () => {
      throw new Error('there is nothing unknown about it');
    };
    for (const bytes of [forged, stolen, reordered]) {
      expect(await judgeUpdate(node.community.book, { record: bytes, payload: null }, from, none)).toBe('reject');
    }
    const other = { record, payload: payloadOf(pond, 2) };
    expect(await judgeUpdate(node.community.book, other, from, none)).toBe('reject');

    // What was spoilt on the way is still good when it comes whole.
    const peer = await stranger(pond, node);
    await peer.announce(good);
    await eventually(() => expect(node.community.book.log.state(good.signed.id)).toBe('held'));
    await takesGoodUpdate(pond, node);
  });

  test('a message above the limit is refused, and one above the limit of an exchange ends the stream', async () => {
    const pond = await makePond();
    const node = await startNode(pond);
    const { signed } = await updateOf(pond, generateKey(), payloadOf(pond, 1));
    const bloated = (bytes: number) => dagCbor.encode({ record: encodeSigned(signed), payload: new Uint8Array(bytes) });
    await expectRefused(pond, node, {
      'a payload above its limit': bloated(MAX_INLINE_PAYLOAD_BYTES + 1),
      'a megabyte': bloated(2 ** 20),
    });
    const peer = await stranger(pond, node);
    await peer.gossip(bloated(5 * 2 ** 20)).catch(() => {});
    await takesGoodUpdate(pond, node);
  });

  test('a record of another community, of a stranger to a members community, or beyond a budget is not kept', async () => {
    const pond = await makePond({ members: true, budgets: { updates: 1, bytes: 2 ** 30 } });
    const node = await startNode(pond);
    const owner = await loadKey(pond.home.authorKey);
    const first = await updateOf(pond, owner, payloadOf(pond, 1));
    const second = await updateOf(pond, owner, payloadOf(pond, 2), { prev: first.signed });
    const foreign = await updateOf({ ...pond, charterId: testId(7) }, owner, payloadOf(pond, 3));
    const outsider = await updateOf(pond, generateKey(), payloadOf(pond, 4));
    const peer = await stranger(pond, node);
    await peer.announce(first);
    // Decided, not only held: the recipe changes with the decision.
    await eventually(async () => {
      const why = await node.service.why(first.signed.id.toString());
      expect(why).toMatchObject({ verdict: 'accepted', deciding: false });
    });
    const message = ({ signed, payload }: Update) => encodeUpdate({ record: encodeSigned(signed), payload });
    await expectRefused(pond, node, {
      second: message(second),
      foreign: message(foreign),
      outsider: message(outsider),
    });
    const { book } = node.community;
    const why = async (update: Update) => {
      const validity = book.judge(update.signed, update.payload.length);
      return validity.verdict === 'invalid' ? validity.code : validity.verdict;
    };
    expect(await why(second)).toBe('BUDGET_UPDATES');
    expect(await why(foreign)).toBe('OTHER_CHARTER');
    expect(await why(outsider)).toBe('NOT_A_MEMBER');
    expect((await node.service.why(first.signed.id.toString())).verdict).toBe('accepted');
    await expect(node.service.contribute({ finetune: pond.base })).rejects.toMatchObject({
      code: 'UPDATE_INVALID',
      fields: { reason: 'NOT_A_MEMBER' },
    });
  });
});

describe('an author who signs two records with one seq', () => {
  test('has both held as proof and declined, and later ones too; its own node contributes no more', async () => {
    const pond = await makePond();
    const node = await startNode(pond);
    const author = await loadKey(node.home.authorKey);
    const honest = await updateOf(pond, author, payloadOf(pond, 1), { title: 'seq 0' });
    const one = await updateOf(pond, author, payloadOf(pond, 2), { prev: honest.signed, title: 'one' });
    const other = await updateOf(pond, author, payloadOf(pond, 3), { prev: honest.signed, title: 'other' });
    const later = await updateOf(pond, author, payloadOf(pond, 4), { prev: one.signed, title: 'later' });
    const peer = await stranger(pond, node);
    for (const update of [honest, one]) {
      await peer.announce(update);
      await eventually(() => expect(node.community.book.log.state(update.signed.id)).toBe('held'));
    }
    await eventually(async () => {
      expect((await node.service.why(one.signed.id.toString())).verdict).toBe('accepted');
    });
    for (const update of [later, other]) {
      await peer.announce(update);
      await eventually(() => expect(node.community.book.log.state(update.signed.id)).toBe('held'));
    }
    for (const { signed } of [one, other, later]) {
      await eventually(async () => {
        const why = await node.service.why(signed.id.toString());
        expect(why).toMatchObject({ verdict: 'declined', gate: 'equivocation', deciding: false });
      });
    }
    expect(await node.service.why(honest.signed.id.toString())).toMatchObject({ verdict: 'accepted' });

    const finetune = join(pond.directory, 'tuned.safetensors');
    await writeModel(finetune, 0.1);
    const before = await stateOf(node);
    // The proof is complete: a third one changes no decision, and is not kept.
    const third = await updateOf(pond, author, payloadOf(pond, 5), { prev: honest.signed, title: 'third' });
    await peer.announce(third);
    await settle();
    expect(await stateOf(node)).toEqual(before);
    await expect(node.service.contribute({ finetune })).rejects.toMatchObject({ code: 'AUTHOR_EQUIVOCATED' });
    expect(await stateOf(node)).toEqual(before);
    await takesGoodUpdate(pond, node);

    const late = await startNode(pond, { peers: [node] });
    await eventually(async () => {
      expect((await late.service.status()).recipe.id).toBe((await node.service.status()).recipe.id);
      // The recipe is the same before these records come, which it leaves out.
      expect(late.community.book.log.equivocations()).toHaveLength(1);
    });
  });
});

describe('a record that waits', () => {
  test('for a parent that never comes is listed with its reason, and holds nothing up', async () => {
    const pond = await makePond();
    const node = await startNode(pond);
    const author = generateKey();
    const missing = await updateOf(pond, author, payloadOf(pond, 1));
    const update = await updateOf(pond, author, payloadOf(pond, 2), { prev: missing.signed });
    const peer = await stranger(pond, node);
    await peer.announce(update);
    await eventually(async () => {
      const status = await node.service.status();
      expect(status.log).toMatchObject({ held: 0, pending: 1 });
      expect(status.waiting).toMatchObject([
        {
          update: update.signed.id.toString(),
          waitsFor: expect.arrayContaining([`record ${missing.signed.id}`]),
        },
      ]);
    });
    await expect(node.service.why(update.signed.id.toString())).resolves.toMatchObject({ verdict: 'undecided' });
    await takesGoodUpdate(pond, node);
    // The parent ends the waiting: the child's payload is fetched from who has it.
    await peer.announce(missing);
    await eventually(() => expect(node.community.book.log.state(missing.signed.id)).toBe('held'));
    expect((await node.service.status()).waiting[0]!.waitsFor).not.toContain(`record ${missing.signed.id}`);
  });

  test('for a payload that a blocks server lies about stays out, and comes in from an honest one', async () => {
    const pond = await makePond();
    const node = await startNode(pond);
    const update = await updateOf(pond, generateKey(), payloadOf(pond, 1));
    let asked = 0;
    const serve = (block: Uint8Array) =>
      blocks({
        source: {
          object: async (id) => (id.equals(update.manifest.id) ? update.manifest.bytes : undefined),
          block: async () => {
            asked++;
            return block;
          },
        },
      });
    const liar = await stranger(pond, node, { blocks: serve(new Uint8Array(update.payload.length)) });
    await liar.announce(update, null);
    await eventually(() => expect(asked).toBeGreaterThan(0));
    await settle();
    expect(node.community.book.log.state(update.signed.id)).toBe('pending');
    const asking = Date.now() - 1;
    const { waiting } = await node.service.status();
    expect(waiting[0]?.tries).toBeGreaterThan(0);
    expect(waiting).toEqual([
      {
        update: update.signed.id.toString(),
        waitsFor: [`payload ${update.manifest.id}`],
        tries: expect.any(Number),
        nextTry: expect.toSatisfy((time) => time === null || time >= asking),
        lastError: { code: 'BAD_BYTES', message: expect.stringContaining(liar.host.peerId.toString()) },
      },
    ]);
    await takesGoodUpdate(pond, node);
    await stranger(pond, node, { blocks: serve(update.payload) });
    await eventually(() => expect(node.community.book.log.state(update.signed.id)).toBe('held'), 20_000);
  });

  test('a sync peer that lies is left, by name and code, and changes nothing', async () => {
    const pond = await makePond();
    const { logger, lines } = keptLog();
    const node = await startNode(pond, { logger });
    const good = await updateOf(pond, generateKey(), payloadOf(pond, 1));
    const forged = encodeSigned({ ...good.signed, signature: good.signed.signature.map((byte) => byte ^ 1) });
    const liar = await stranger(pond, node, {
      sync: sync({ source: fixedSource(pond.charterId, [{ id: good.signed.id, bytes: forged }]) }),
    });
    await eventually(() =>
      expect(lines).toContainEqual(
        expect.objectContaining({
          peer: liar.host.peerId.toString(),
          err: expect.objectContaining({
            code: 'BAD_RECORD',
            fields: expect.objectContaining({ reason: 'BAD_SIGNATURE' }),
          }),
        }),
      ),
    );
    expect(await stateOf(node)).toMatchObject({ held: 0, pending: 0 });
    await takesGoodUpdate(pond, node);
  });
});
