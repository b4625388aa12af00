import { readdir } from 'node:fs/promises';
import { describe, expect, test } from 'vitest';
import type { SignedRecord } from '../../../src/log/index.ts';
import { testKey } from '../log/helpers.ts';
import { makePond, newHome, openBook, type Update, updateOf, updates } from './support.ts';

const author = testKey(1);

const received = ({ manifest, payload }: Update) => ({ ...manifest, content: payload });
const alone = (update: Update) => ({ ...received(update), content: null });

describe('payloads that came together', () => {
  test('make their records held, and are there after a restart', async () => {
    const pond = await makePond();
    const home = await newHome(pond);
    const held: SignedRecord[] = [];
    const book = await openBook(pond, home, { onHeld: (records) => void held.push(...records) });
    const made = await updates(pond, 4, author);
    for (const { signed } of made) await book.take(signed, null, 'peer');
    await book.payloads.receive([received(made[0]!), received(made[1]!), alone(made[2]!), received(made[3]!)]);
    expect(held.map(({ id }) => id.toString())).toEqual(made.slice(0, 2).map(({ signed }) => signed.id.toString()));
    expect(book.log.missing().payloads.map(String)).toEqual([made[2]!.manifest.id.toString()]);
    await book.close();
    const again = await openBook(pond, home);
    expect(made.map(({ signed }) => again.log.state(signed.id))).toEqual(['held', 'held', 'unknown', 'unknown']);
    expect((await again.payloads.manifest(made[2]!.manifest.id))?.size).toBe(made[2]!.payload.length);
  });

  test('leave nothing where no record names them, or their chain is not known', async () => {
    const pond = await makePond();
    const home = await newHome(pond);
    const book = await openBook(pond, home);
    const [first, second, stranger] = await updates(pond, 3, author);
    await book.take(second!.signed, null, 'peer');
    await book.payloads.receive([received(second!), received(stranger!)]);
    expect(await readdir(home.blobs)).toEqual([]);
    expect(await book.payloads.manifest(stranger!.manifest.id)).toBeUndefined();
    await book.take(first!.signed, first!.payload, 'peer');
    await book.payloads.receive([received(second!)]);
    expect(book.log.size).toBe(2);
  });

  test('leave nothing where the budget does not cover them', async () => {
    const pond = await makePond({ budgets: { updates: 10, bytes: 150 } });
    const home = await newHome(pond);
    const book = await openBook(pond, home);
    const first = await updateOf(pond, author, new Uint8Array(100).fill(1));
    const second = await updateOf(pond, author, new Uint8Array(100).fill(2), { prev: first.signed });
    for (const { signed } of [first, second]) await book.take(signed, null, 'peer');
    await book.payloads.receive([received(first), received(second)]);
    expect(book.log.state(second.signed.id)).toBe('invalid');
    expect(await readdir(home.blobs)).toEqual([first.manifest.id.toString()]);
    expect(await book.payloads.manifest(second.manifest.id)).toBeUndefined();
  });
});
