import { appendFile, readFile, stat, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { VerdictFile } from '../../../node/core/verdict-file.ts';
import type { PayloadVerdict } from '../../../node/work/payload-calls.ts';
import { testId } from '../log/helpers.ts';
import { makePond, newHome, openCommunityHere, scratch, silent, updates } from './support.ts';

const measured = (index: number): PayloadVerdict => ({
  ok: true,
  measure: {
    bytes: 100 + index,
    elements: 2 ** 40,
    nnz: 7,
    norm: Math.SQRT2 / (index + 1),
    sum: -0.1,
    tensors: Array.from({ length: index }, (_, place) => ({
      index: place,
      scale: Math.fround(0.1),
      entries: 3,
      sum: -3,
      squares: 2 ** 52,
      peak: 16,
    })),
  },
});
const VERDICTS: PayloadVerdict[] = [measured(0), measured(3), { ok: false, fault: 'TORN', message: 'it ends — early' }];

async function load(path: string) {
  const file = new VerdictFile({ path }, { logger: silent });
  const found: [string, PayloadVerdict][] = [];
  await file.load((payload, verdict) => found.push([payload.toString(), verdict]));
  return { file, found };
}

async function filled() {
  const path = join(await scratch(), 'derived', 'verdicts');
  const { file } = await load(path);
  for (const [place, verdict] of VERDICTS.entries()) await file.append(testId(place), verdict);
  return { path, expected: VERDICTS.map((verdict, place) => [testId(place).toString(), verdict]) };
}

describe('the verdicts on disk', () => {
  test('come back bit for bit', async () => {
    const { path, expected } = await filled();
    expect((await load(path)).found).toEqual(expected);
  });

  test.each([
    ['a torn end', (path: string, size: number) => truncate(path, size - 3), 2],
    ['garbage behind', (path: string) => appendFile(path, Buffer.alloc(50, 0xff)), 3],
    ['another version', (path: string) => writeFile(path, 'kinmerge/verdicts/0\n'), 0],
  ])('with %s are cut there and go on', async (_what, damage, left) => {
    const { path, expected } = await filled();
    await damage(path, (await stat(path)).size);
    const { file, found } = await load(path);
    expect(found).toEqual(expected.slice(0, left));
    await file.append(testId(9), measured(1));
    expect((await load(path)).found).toEqual([...expected.slice(0, left), [testId(9).toString(), measured(1)]]);
  });

  test('spare a restart the payloads: it decides the same without reading one', async () => {
    const pond = await makePond();
    const home = await newHome(pond);
    const first = await openCommunityHere(pond, { home });
    for (const { signed, payload } of await updates(pond, 4)) await first.book.take(signed, payload, 'peer');
    const before = await first.settled();
    await first.close();
    const size = (await readFile(home.verdicts)).length;
    const again = await openCommunityHere(pond, { home });
    const after = await again.settled();
    await again.close();
    expect(after.recipeId.toString()).toBe(before.recipeId.toString());
    expect([...after.decisions]).toEqual([...before.decisions]);
    expect((await readFile(home.verdicts)).length).toBe(size);
  });
});
