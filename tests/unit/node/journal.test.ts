import { appendFile, copyFile, mkdir, readdir, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { createJournal, Journal, MIN_DEAD_BYTES, segmentPath } from '../../../node/stores/journal.ts';
import {
  ENTRY_HEADER_BYTES,
  entryName,
  type JournalEntry,
  type JournalKind,
  KIND,
  MAX_ENTRY_BYTES,
  SEGMENT_MAGIC,
} from '../../../node/stores/journal-format.ts';
import { type Damage, removal } from '../../../node/stores/journal-reading.ts';
import { sha256 } from '../../../src/log/index.ts';
import { entriesIn, segmentOf } from './journal-support.ts';
import { random, scratch } from './support.ts';

const entry = (text: string, kind: JournalKind = KIND.record, size = 100): JournalEntry => ({
  kind,
  digest: sha256(Buffer.from(text)),
  body: Buffer.from(text.padEnd(size, '.')),
});

async function opened(journal: string): Promise<{ at: Journal; state: Map<string, string>; damage: Damage[] }> {
  const at = new Journal({ directory: journal });
  const state = new Map<string, string>();
  const damage = await at.open(({ kind, digest, body }) => {
    if (kind === KIND.removed) state.delete(entryName(body[0]!, digest));
    else state.set(entryName(kind, digest), Buffer.from(body).toString());
  });
  return { at, state, damage };
}

const home = async () => ({ journal: join(await scratch(), 'journal') });

describe('a journal', () => {
  test('gives back what was appended, the last of each name, and not what was removed', async () => {
    const { journal } = await home();
    const { at } = await opened(journal);
    const [a, b] = [entry('a'), entry('b', KIND.manifest)];
    at.later(b);
    expect(await at.get(KIND.manifest, b.digest)).toEqual(b.body);
    await at.append([a]);
    await at.append([{ ...a, body: Buffer.from('new') }, entry('c')]);
    await at.append([removal(KIND.record, entry('c').digest)]);
    expect(await at.get(KIND.record, a.digest)).toEqual(Buffer.from('new'));
    expect(await at.get(KIND.record, entry('c').digest)).toBeUndefined();
    const { state, damage } = await opened(journal);
    expect([...state.values()].sort()).toEqual([b.body.toString(), 'new']);
    expect(damage).toEqual([]);
  });

  test('writes what comes in one turn with one write, and says it is there only then', async () => {
    const { journal } = await home();
    const { at } = await opened(journal);
    await at.append([entry('first')]);
    const done: number[] = [];
    await Promise.all(Array.from({ length: 50 }, (_, i) => at.append([entry(`${i}`)]).then(() => done.push(i))));
    expect(done).toHaveLength(50);
    // One mark for the first, one write for the fifty.
    const kinds = (await entriesIn(await segmentOf({ journal }))).map(({ kind }) => kind);
    expect(kinds.filter((kind) => kind === KIND.mark)).toHaveLength(1);
  });

  test('takes the largest entry, and a larger one is not read as one', async () => {
    const { journal } = await home();
    const { at } = await opened(journal);
    await at.append([entry('large', KIND.manifest, MAX_ENTRY_BYTES)]);
    await at.append([entry('after')]);
    expect((await opened(journal)).state.size).toBe(2);
    await expect(at.append([entry('larger', KIND.manifest, MAX_ENTRY_BYTES + 1)])).rejects.toThrow(RangeError);
  });

  test('is written anew once enough of it is dead, and keeps what counts', async () => {
    const { journal } = await home();
    const { at } = await opened(journal);
    const large = (text: string) => entry(text, KIND.manifest, MIN_DEAD_BYTES / 4);
    await at.append([entry('kept'), large('0'), large('1'), large('2')]);
    for (const text of ['0', '1']) await at.append([removal(KIND.manifest, large(text).digest)]);
    expect(at.size).toBeGreaterThan((3 * MIN_DEAD_BYTES) / 4);
    for (let i = 3; i < 6; i++) {
      await at.append([large(`${i}`)]);
      await at.append([removal(KIND.manifest, large(`${i}`).digest)]);
    }
    expect(at.size).toBeLessThan(MIN_DEAD_BYTES);
    expect(await readdir(journal)).toEqual(['0000000002.journal']);
    await at.append([entry('later')]);
    expect([...(await opened(journal)).state.keys()].sort()).toEqual(
      [entry('kept'), large('2'), entry('later')].map(({ kind, digest }) => entryName(kind, digest)).sort(),
    );
  });

  test.each(['before its name', 'after it'])('a rewrite that ends %s loses nothing', async (when) => {
    const { journal } = await home();
    const { at } = await opened(journal);
    await at.append([entry('a'), entry('b')]);
    const old = await readFile(segmentPath(journal, 1));
    await at.compact();
    await writeFile(segmentPath(journal, 1), old);
    if (when === 'before its name') {
      await copyFile(
        segmentPath(journal, 2),
        join(journal, '.0000000002.journal.999999999-0123456789abcdef.kinmerge-tmp'),
      );
      await rm(segmentPath(journal, 2));
    }
    const { state } = await opened(journal);
    expect(state.size).toBe(2);
    expect(await readdir(journal)).toHaveLength(1);
  });

  test('one of a newer version is refused and left alone', async () => {
    const { journal } = await home();
    await mkdir(journal);
    const bytes = Buffer.from(SEGMENT_MAGIC.toString().replace('/1', '/2'));
    await writeFile(segmentPath(journal, 1), bytes);
    await expect(opened(journal)).rejects.toMatchObject({ code: 'HOME_NEWER' });
    expect(await readFile(segmentPath(journal, 1))).toEqual(bytes);
  });

  test('what an append left half-written when it failed is cut by the next', async () => {
    const { journal } = await home();
    const { at } = await opened(journal);
    await at.append([entry('a')]);
    const path = await segmentOf({ journal });
    const bytes = await readFile(path);
    await rm(path);
    await expect(at.append([entry('b')])).rejects.toMatchObject({ code: 'ENOENT' });
    await writeFile(path, Buffer.concat([bytes, Buffer.from('half')]));
    await at.append([entry('c')]);
    const { state, damage } = await opened(journal);
    expect([[...state.values()].map((text) => text[0]), damage]).toEqual([['a', 'c'], []]);
  });
});

/** What a crash makes of bytes that nobody flushed. */
const CRASHES: readonly ((tail: Buffer, draw: () => number) => Buffer)[] = [
  (tail, draw) => tail.subarray(0, Math.floor(draw() * tail.length)),
  (tail, draw) => Buffer.concat([tail.subarray(0, Math.floor(draw() * tail.length)), Buffer.alloc(300, 0xab)]),
  (tail, draw) => {
    const torn = Buffer.from(tail);
    const from = Math.floor(draw() * tail.length);
    torn.fill(0, from, Math.min(tail.length, from + Math.ceil(draw() * 512)));
    return torn;
  },
  (tail) => Buffer.alloc(tail.length),
];

describe('after a crash', () => {
  test('everything acknowledged is there and nothing is invented, wherever it came: 60 histories', async () => {
    const root = await scratch();
    for (let seed = 0; seed < 60; seed++) {
      const draw = random(seed);
      const journal = join(root, `${seed}`);
      let { at } = await opened(journal);
      const model = new Map<string, string>();
      let next = 0;
      const batch = () => {
        const made = Array.from({ length: 1 + Math.floor(draw() * 4) }, () => {
          if (model.size > 0 && draw() < 0.2) {
            const name = [...model.keys()][Math.floor(draw() * model.size)]!;
            return removal(name.charCodeAt(0) as JournalKind, Buffer.from(name.slice(1), 'latin1'));
          }
          const kind = draw() < 0.5 ? KIND.record : KIND.manifest;
          return entry(`${seed} ${next++}`, kind, 20 + Math.floor(draw() * 300));
        });
        return made;
      };
      const apply = (entries: readonly JournalEntry[]) => {
        for (const { kind, digest, body } of entries) {
          if (kind === KIND.removed) model.delete(entryName(body[0]!, digest));
          else model.set(entryName(kind, digest), body.toString());
        }
      };
      for (let life = 0; life < 3; life++) {
        const appends = Math.floor(draw() * 6);
        for (let i = 0; i < appends; i++) {
          const entries = batch();
          await at.append(entries, { mark: draw() < 0.2 });
          apply(entries);
          if (draw() < 0.1) await at.compact();
        }
        const path = await segmentOf({ journal });
        const acknowledged = (await stat(path)).size;
        const lost = batch();
        await at.append(lost);
        const written = await readFile(path);
        const tail = CRASHES[Math.floor(draw() * CRASHES.length)]!(written.subarray(acknowledged), draw);
        await writeFile(path, Buffer.concat([written.subarray(0, acknowledged), tail]));

        const again = await opened(journal);
        expect(again.damage, `seed ${seed}`).toEqual([]);
        const before = new Map(model);
        apply(lost);
        for (const [name, text] of again.state) {
          expect(before.get(name) ?? model.get(name), `seed ${seed}`).toBe(text);
        }
        for (const name of before.keys()) {
          if (model.has(name)) expect(again.state.has(name), `seed ${seed}`).toBe(true);
        }
        // What it says now it says for good.
        expect((await opened(journal)).state, `seed ${seed}`).toEqual(again.state);
        model.clear();
        for (const [name, text] of again.state) model.set(name, text);
        at = again.at;
      }
    }
  }, 120_000);

  test('of a write that lost its middle, what is whole is kept', async () => {
    const { journal } = await home();
    const { at } = await opened(journal);
    await at.append([entry('a'), entry('b'), entry('c')]);
    const path = await segmentOf({ journal });
    const [, b] = await entriesIn(path);
    const bytes = await readFile(path);
    bytes.fill(0, b!.at, b!.at + b!.length);
    await writeFile(path, bytes);
    const { state, damage } = await opened(journal);
    expect([[...state.values()].map((text) => text[0]), damage]).toEqual([['a', 'c'], []]);
  });
});

describe('damage to what was flushed', () => {
  test('anywhere is told by name, all else is there, and nothing is invented: 300 times', async () => {
    const { journal } = await home();
    const { at } = await opened(journal);
    for (let i = 0; i < 20; i++) await at.append([entry(`${i}`), entry(`m${i}`, KIND.manifest, 30)]);
    await at.append([], { mark: true });
    const path = await segmentOf({ journal });
    const whole = await readFile(path);
    const entries = await entriesIn(path);
    const { state: all } = await opened(journal);
    const lastMark = entries.at(-1)!.at;
    const draw = random(5);
    for (let round = 0; round < 300; round++) {
      const from = SEGMENT_MAGIC.length + Math.floor(draw() * (lastMark - SEGMENT_MAGIC.length));
      const to = Math.min(lastMark, from + 1 + Math.floor(draw() * (round % 3 === 0 ? 1 : 400)));
      const bytes = Buffer.from(whole);
      for (let i = from; i < to; i++) bytes[i] = round % 2 === 0 ? 0 : bytes[i]! ^ 0x5a;
      if (bytes.equals(whole)) continue;
      await writeFile(path, bytes);
      const { state, damage } = await opened(journal);
      const hit = entries.filter(
        ({ at: place, length, kind }) => place < to && place + length > from && kind !== KIND.mark,
      );
      const lost = [...all.keys()].filter((name) => !state.has(name));
      for (const name of lost) expect(hit.map(({ name: one }) => one)).toContain(name);
      for (const [name, text] of state) expect(all.get(name)).toBe(text);
      const told = new Set(damage.map(({ name }) => name && entryName(name.kind, name.digest)));
      const known = lost.every((name) => told.has(name));
      expect(known || told.has(undefined), `bytes ${from} to ${to}`).toBe(true);
      if (to - from < ENTRY_HEADER_BYTES) expect(known).toBe(true);
    }
  }, 60_000);

  test('is no damage any more once the same came again', async () => {
    const { journal } = await home();
    const { at } = await opened(journal);
    await at.append([entry('a'), entry('b')], { mark: true });
    const path = await segmentOf({ journal });
    const bytes = await readFile(path);
    bytes[(await entriesIn(path))[0]!.at + ENTRY_HEADER_BYTES + 3]! ^= 1;
    await writeFile(path, bytes);
    const broken = await opened(journal);
    expect(broken.damage.map(({ name }) => Buffer.from(name!.digest))).toEqual([Buffer.from(entry('a').digest)]);
    await broken.at.append([entry('a')]);
    const { state, damage } = await opened(journal);
    expect([state.size, damage]).toEqual([2, []]);
  });

  test('a file that was cut in its middle has lost only what lay there', async () => {
    const { journal } = await home();
    await createJournal(journal, [entry('a'), entry('b')]);
    const path = await segmentOf({ journal });
    const [, b] = await entriesIn(path);
    await truncate(path, b!.at + 10);
    const { at, state } = await opened(journal);
    expect(state.size).toBe(1);
    await at.append([entry('b')]);
    await appendFile(path, 'x');
    expect((await opened(journal)).state.size).toBe(2);
  });
});
