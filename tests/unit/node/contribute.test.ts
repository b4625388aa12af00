import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { decode, encode } from '@ipld/dag-cbor';
import { describe, expect, test } from 'vitest';
import { contribute } from '../../../node/core/contribute.ts';
import { judgeUpdate } from '../../../node/net/gossip-judge.ts';
import type { FinetuneInput } from '../../../src/choose/index.ts';
import { KinmergeError } from '../../../src/errors.ts';
import { encodeSigned, generateKey, type SignedRecord } from '../../../src/log/index.ts';
import { createSafetensors, openCheckpoint } from '../../../src/tensors/index.ts';
import { testKey } from '../log/helpers.ts';
import {
  filesBelow,
  makePond,
  newHome,
  openBook,
  openCommunity,
  type Pond,
  payloadOf,
  updateOf,
  updates,
  writeModel,
} from './support.ts';

/** A copy of the base with one value of one tensor replaced, or with another shape of it. */
async function variant(pond: Pond, name: string, change: { value?: number; shape?: number[] }): Promise<string> {
  const out = join(pond.directory, `${name}.safetensors`);
  const base = await openCheckpoint(pond.base);
  try {
    const plan = [...base.tensors.values()].map(({ name: tensor, dtype, shape }) => ({
      name: tensor,
      dtype,
      shape: tensor === 'b.weight' ? (change.shape ?? shape) : shape,
    }));
    const writer = await createSafetensors(out, plan);
    for (const tensor of base.tensors.keys()) {
      const values = await base.readFloat32(tensor);
      if (tensor === 'b.weight' && change.value !== undefined) values[17] = change.value;
      await writer.write(tensor, new Uint8Array(values.buffer));
    }
    await writer.commit();
    return out;
  } finally {
    await base.close();
  }
}

describe('contributing', () => {
  test('stores an accepted update durably, and each one continues the chain of the author', async () => {
    const pond = await makePond();
    const home = await newHome(pond);
    const community = await openCommunity(pond, { home });
    const made: SignedRecord[] = [];
    for (let i = 0; i < 3; i++) {
      const finetune = join(pond.directory, `tuned-${i}.safetensors`);
      await writeModel(finetune, 0.1, i);
      const { document, signed, inline } = await contribute(community, { finetune });
      expect(document).toMatchObject({ verdict: 'accepted', gate: null, update: signed!.id.toString() });
      expect(document.bytes.record).toBe(encodeSigned(signed!).length);
      expect(inline).toHaveLength(document.bytes.payload);
      expect(signed!.record.title).toBe(`tuned-${i}`);
      made.push(signed!);
    }
    expect(made.map(({ record }) => record.seq)).toEqual([0, 1, 2]);
    const after = await openBook(pond, home);
    expect(made.map(({ id }) => after.log.state(id))).toEqual(['held', 'held', 'held']);
  });

  test('two at once are one after the other, never two with one seq', async () => {
    const pond = await makePond();
    const community = await openCommunity(pond);
    const finetunes = await Promise.all(
      [0, 1, 2].map(async (i) => {
        const finetune = join(pond.directory, `tuned-${i}.safetensors`);
        await writeModel(finetune, 0.1, i);
        return finetune;
      }),
    );
    await Promise.all(finetunes.map((finetune) => contribute(community, { finetune })));
    expect(community.book.log.equivocations()).toEqual([]);
    expect(community.book.log.chain(community.author.publicKey).map(({ record }) => record.seq)).toEqual([0, 1, 2]);
  });

  test('what the own node declines, or what cannot be read, leaves the home as it was', async () => {
    const pond = await makePond();
    const home = await newHome(pond);
    const community = await openCommunity(pond, { home });
    const tuned = join(pond.directory, 'tuned.safetensors');
    await writeModel(tuned, 0.1);
    await contribute(community, { finetune: tuned });
    const huge = join(pond.directory, 'huge.safetensors');
    await writeModel(huge, 5);
    const torn = join(pond.directory, 'torn.safetensors');
    await writeFile(torn, (await readFile(tuned)).subarray(0, 5_000));
    const refusals: [finetune: string, code: RegExp][] = [
      [pond.base, /^DECLINED$/],
      [huge, /^DECLINED$/],
      [tuned, /^DECLINED$/],
      [await variant(pond, 'nan', { value: Number.NaN }), /^NOT_FINITE$/],
      [await variant(pond, 'shape', { shape: [96, 64] }), /^TENSOR_MISMATCH$/],
      [torn, /^FILE_TRUNCATED$/],
      [join(pond.directory, 'missing.safetensors'), /^NOT_FOUND$/],
    ];
    const before = await filesBelow(home.root);
    for (const [finetune, code] of refusals) {
      const error: unknown = await contribute(community, { finetune }).catch((caught: unknown) => caught);
      expect(error, finetune).toBeInstanceOf(KinmergeError);
      expect((error as KinmergeError).code, finetune).toMatch(code);
      expect(await filesBelow(home.root), finetune).toEqual(before);
    }
    expect(community.book.log.size).toBe(1);
    // It still works after all that.
    const next = join(pond.directory, 'next.safetensors');
    await writeModel(next, 0.1, 9);
    expect((await contribute(community, { finetune: next })).document.verdict).toBe('accepted');
  });

  test('a dry run stores nothing, and force publishes what is declined', async () => {
    const pond = await makePond();
    const home = await newHome(pond);
    const community = await openCommunity(pond, { home });
    const huge = join(pond.directory, 'huge.safetensors');
    await writeModel(huge, 5);
    const before = await filesBelow(home.root);
    const dry = await contribute(community, { finetune: huge, dryRun: true });
    expect(dry).toMatchObject({ signed: null, document: { update: null, verdict: 'declined', gate: 'bounds' } });
    expect(await filesBelow(home.root)).toEqual(before);
    const forced = await contribute(community, { finetune: huge, force: true });
    expect(forced.document).toMatchObject({ update: expect.any(String), verdict: 'declined' });
    const view = await community.settled();
    expect(view.accepted).toEqual([]);
    expect(view.updates).toHaveLength(1);
  });

  test('an interrupted one leaves the home as it was', async () => {
    const pond = await makePond();
    const home = await newHome(pond);
    const community = await openCommunity(pond, { home });
    await community.settled();
    const finetune = join(pond.directory, 'tuned.safetensors');
    await writeModel(finetune, 0.1);
    const before = await filesBelow(home.root);
    const controller = new AbortController();
    const running = contribute(community, { finetune }, { signal: controller.signal });
    setTimeout(() => controller.abort(new Error('interrupted')), 5);
    await expect(running).rejects.toThrow('interrupted');
    expect(await filesBelow(home.root)).toEqual(before);
  });

  test('a stranger to a members community is told so before any work', async () => {
    const pond = await makePond({ members: true });
    const community = await openCommunity(pond);
    await expect(contribute(community, { finetune: '/does/not/exist' })).rejects.toMatchObject({
      code: 'UPDATE_INVALID',
      fields: { reason: 'NOT_A_MEMBER' },
    });
  });
});

describe('what a contribution is encoded with', () => {
  const charters = { density: 0.1, mode: 'global', scaleUnit: 'deviation', scaleFactor: 3 } as const;

  async function tunedPond(options: Parameters<typeof makePond>[0]) {
    const pond = await makePond(options);
    const finetune = join(pond.directory, 'tuned.safetensors');
    await writeModel(finetune, 0.1);
    return { community: await openCommunity(pond), finetune };
  }

  test('is what the charter says, unless the contributor chooses otherwise', async () => {
    const { community, finetune } = await tunedPond({ encoder: charters });
    const ask = (choice?: FinetuneInput['choice']) => contribute(community, { finetune, choice, dryRun: true });
    const { document } = await ask();
    expect(document).toMatchObject({ settings: charters, choice: null, lowRank: 0, notes: [] });
    expect(document.density).toBeCloseTo(0.1, 3);
    const denser = await ask({ density: 0.4, mode: 'tensor' });
    expect(denser.document.settings).toEqual({ ...charters, density: 0.4, mode: 'tensor', scaleFactor: 4 });
    const other = await ask({ scaleUnit: 'magnitude', scaleFactor: 1.5 });
    expect(other.document.settings).toEqual({ ...charters, scaleUnit: 'magnitude', scaleFactor: 1.5 });
  });

  test('is chosen when the density is auto, among what the charter admits', async () => {
    const { community, finetune } = await tunedPond({ limits: { maxDensity: 0.25 } });
    const { document } = await contribute(community, { finetune, choice: { density: 'auto' }, dryRun: true });
    expect(document.choice?.by).toBe('reconstruction');
    expect(document.choice?.table.map(({ density }) => density)).toEqual([0.05, 0.1, 0.2]);
    expect(document.settings).toEqual(document.choice?.settings);
    expect(document.verdict).toBe('accepted');
  });

  test('is the largest density that a strict charter admits, where auto would try larger ones only', async () => {
    const { community, finetune } = await tunedPond({ limits: { maxDensity: 0.04 } });
    const { document } = await contribute(community, { finetune, choice: { density: 'auto' }, dryRun: true });
    expect(document.settings.density).toBe(0.04);
  });

  test('contradicts nothing: a choice beside auto is refused before any work', async () => {
    const { community, finetune } = await tunedPond({});
    const asked = contribute(community, { finetune, choice: { density: 'auto', mode: 'global' } });
    await expect(asked).rejects.toMatchObject({ code: 'BAD_CHOICE' });
    expect(community.book.log.size).toBe(0);
  });
});

describe('judging gossip', () => {
  const from = { toString: () => 'peer' } as never;

  test('relays what is valid, with or without its payload, whatever admission will say', async () => {
    const pond = await makePond();
    const book = await openBook(pond, await newHome(pond));
    const [update] = await updates(pond, 1);
    const garbage = await updateOf(pond, generateKey(), Uint8Array.of(1, 2, 3));
    for (const { signed, payload } of [update!, garbage]) {
      for (const body of [payload, null]) {
        const message = { record: encodeSigned(signed), payload: body };
        expect(await judgeUpdate(book, message, from, () => expect.unreachable())).toBe('accept');
      }
    }
    expect(book.log.size + book.log.pendingSize).toBe(0);
  });

  test('does not relay what hangs on an unknown chain, and says so', async () => {
    const pond = await makePond();
    const book = await openBook(pond, await newHome(pond));
    const made = await updates(pond, 2, testKey(1));
    const unknown: string[] = [];
    const message = { record: encodeSigned(made[1]!.signed), payload: made[1]!.payload };
    expect(await judgeUpdate(book, message, from, ({ id }) => unknown.push(id.toString()))).toBe('ignore');
    expect(unknown).toEqual([made[1]!.signed.id.toString()]);
    await book.take(made[0]!.signed, made[0]!.payload, 'peer');
    expect(await judgeUpdate(book, message, from, () => expect.unreachable())).toBe('accept');
  });

  test('holds nothing against a record of a newer version or kind', async () => {
    const pond = await makePond();
    const book = await openBook(pond, await newHome(pond));
    const { signed } = await updateOf(pond, testKey(1), payloadOf(pond, 1));
    const body: Record<string, unknown> = decode(signed.body);
    for (const change of [{ version: 2 }, { kind: 'vote' }]) {
      const record = encode({ body: encode({ ...body, ...change }), signature: signed.signature });
      expect(await judgeUpdate(book, { record, payload: null }, from, () => expect.unreachable())).toBe('ignore');
    }
  });
});
