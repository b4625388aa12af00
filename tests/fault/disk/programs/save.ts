/** Saves a file as its first argument says, in the directory that is the second one, and prints what it saved. */
import { createWriteStream } from 'node:fs';
import { appendFile, link, mkdir, open, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { Worker } from 'node:worker_threads';
import { fsyncDir, fsyncFile, removeWhole, renameDurably, writeFileDurably } from '../../../../src/durable.ts';

const [how, directory] = process.argv.slice(2) as [keyof typeof WAYS, string];
const path = join(directory, 'file');
const temp = join(directory, 'temp');
const NEW = 'new'.repeat(1000);

const WAYS = {
  durably: () => writeFileDurably(path, NEW),
  'without any sync': () => writeFile(path, NEW),
  'with a rename but no sync of the content': async () => {
    await writeFile(temp, NEW);
    await rename(temp, path);
    await fsyncDir(directory);
  },
  'with a rename but no sync of the directory': async () => {
    await writeFile(temp, NEW, { flush: true });
    await rename(temp, path);
  },
  'in place and synced': () => writeFile(path, NEW, { flush: true }),
  'by a handle, synced and then written on': async () => {
    const file = await open(path, 'r+');
    await file.write(NEW, 0);
    await file.sync();
    await file.write('later', NEW.length);
    await file.close();
  },
  'by a stream that flushes': async () => {
    await pipeline([Buffer.from(NEW)], createWriteStream(temp, { flush: true }));
    await renameDurably(temp, path);
  },
  'by a stream that does not flush': async () => {
    await pipeline([Buffer.from(NEW)], createWriteStream(temp));
    await rename(temp, path);
    await fsyncDir(directory);
  },
  'in a new directory whose own name is not synced': async () => {
    await mkdir(join(directory, 'inner'));
    await writeFileDurably(join(directory, 'inner', 'file'), NEW);
  },
  'in a new directory': async () => {
    await mkdir(join(directory, 'deep', 'inner'), { recursive: true });
    await writeFileDurably(join(directory, 'deep', 'inner', 'file'), NEW);
    await fsyncDir(join(directory, 'deep'));
    await fsyncDir(directory);
  },
  'by removing it durably': async () => {
    await rm(path);
    await fsyncDir(directory);
  },
  'by removing it': () => rm(path),
  'by appending and syncing': async () => {
    await appendFile(path, NEW);
    await fsyncFile(path);
  },
  'by appending': () => appendFile(path, NEW),
  'by a link': async () => {
    await link(path, temp);
    await fsyncDir(directory);
  },
  'in a worker thread': async () => {
    const worker = new Worker(new URL(import.meta.url), { argv: ['durably', directory] });
    await new Promise((resolve) => worker.once('exit', resolve));
  },
  'in a directory that goes': async () => {
    await mkdir(join(directory, 'inner'));
    await writeFileDurably(join(directory, 'inner', 'file'), NEW);
    await fsyncDir(directory);
    await rm(join(directory, 'inner'), { recursive: true });
  },
  'in a directory that goes whole': async () => {
    await mkdir(join(directory, 'inner'));
    for (const name of ['one', 'two']) await writeFileDurably(join(directory, 'inner', name), NEW);
    await fsyncDir(directory);
    await removeWhole(join(directory, 'inner'));
  },
} satisfies Record<string, () => Promise<void>>;

export type Way = keyof typeof WAYS;

await WAYS[how]();
