import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { RecordBook } from '../../../node/core/record-book.ts';
import { homePaths } from '../../../node/home/paths.ts';
import { charterId, decodeCharter, parseId } from '../../../src/log/index.ts';
import { deaf, makePond, random, silent, writeModel } from '../../unit/node/support.ts';
import { Traced } from './traced.ts';
import { Victim } from './victim.ts';

test('what a new home acknowledged first, without a daemon, outlives the loss of everything that was not synced', async () => {
  const pond = await makePond();
  const home = homePaths(join(pond.directory, 'new'));
  const out = join(pond.directory, 'out');
  const finetune = join(pond.directory, 'finetune.safetensors');
  for (const directory of [home.root, out]) await mkdir(directory);
  await writeModel(finetune, 0.1, 1);
  const acknowledged: string[] = [];
  for (const args of [
    ['join', join(pond.directory, 'charter.cbor'), '--base', pond.base],
    ['contribute', finetune, '--title', 'the first'],
  ]) {
    const traced = await Traced.prepare(join(pond.directory, 'trace'), { home: home.root, out }, { powerLoss: true });
    const command = new Victim([...args, '--home', home.root], traced);
    const document = await command.document();
    if (document.update !== undefined) acknowledged.push(String(document.update));
    const disk = await traced.disk();
    expect(await disk.differences()).toEqual([]);
    await disk.losePower({ names: 'none', bytes: 'lost' }, random(1));
  }
  const charter = await readFile(home.charter);
  const book = new RecordBook(
    { home, charter: decodeCharter(charter), charterId: charterId(charter) },
    { listener: deaf, logger: silent },
  );
  await book.load();
  expect(acknowledged.map((id) => book.log.state(parseId(id)))).toEqual(['held']);
}, 60_000);
