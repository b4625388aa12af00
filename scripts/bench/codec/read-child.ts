/** A process that does nothing but read files, in order, into one reused buffer: the reference for times. */
import { closeSync, openSync, readSync } from 'node:fs';

/** Bytes read at a time. */
const BUFFER_BYTES = 2 ** 20;

export interface Read {
  readonly bytes: number;
  readonly seconds: number;
}

const { paths } = JSON.parse(process.argv[2]!) as { paths: readonly string[] };
const buffer = Buffer.alloc(BUFFER_BYTES);
const started = performance.now();
let bytes = 0;
for (const path of paths) {
  const file = openSync(path, 'r');
  for (let got = readSync(file, buffer); got > 0; got = readSync(file, buffer)) bytes += got;
  closeSync(file);
}
const result: Read = { bytes, seconds: (performance.now() - started) / 1000 };
process.stdout.write(JSON.stringify(result));
