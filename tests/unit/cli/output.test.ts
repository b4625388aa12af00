import { PassThrough } from 'node:stream';
import { expect, test } from 'vitest';
import { formatBytes, Output, table } from '../../../node/cli/output.ts';

function streams(isTTY: boolean) {
  const [stdout, stderr] = [new PassThrough(), Object.assign(new PassThrough(), { isTTY })];
  const read = (stream: PassThrough) => String(stream.read() ?? '');
  return { stdout, stderr, out: () => read(stdout), err: () => read(stderr) };
}

const progress = { phase: 'reading', done: 1, total: 4, unit: 'tensors' } as const;

test('progress goes to a terminal only, and is wiped before the result', () => {
  const terminal = streams(true);
  const output = new Output({ json: false }, terminal);
  output.progress(progress);
  expect(terminal.err()).toBe('\r\u001b[Kreading 25% (1 of 4 tensors)');
  output.result({}, () => 'done');
  expect(terminal.err()).toBe('\r\u001b[K');
  expect(terminal.out()).toBe('done\n');

  const pipe = streams(false);
  new Output({ json: false }, pipe).progress(progress);
  expect(pipe.err()).toBe('');
  const json = streams(true);
  new Output({ json: true }, json).progress(progress);
  expect(json.err()).toBe('');
});

test('JSON has big integers as text, bytes as hex and maps as objects', () => {
  const pipe = streams(false);
  const document = { sum: 2n ** 70n, key: Uint8Array.of(1, 255), map: new Map([['a', 1]]) };
  new Output({ json: true }, pipe).result(document, () => 'never');
  expect(pipe.out()).toBe('{"sum":"1180591620717411303424","key":"01ff","map":{"a":1}}\n');
});

test('an unexpected error shows where it came from, beside the document', () => {
  const pipe = streams(false);
  new Output({ json: true }, pipe).error(new TypeError('oops'));
  expect(JSON.parse(pipe.out())).toEqual({ error: { code: 'UNEXPECTED', message: 'oops', fields: {} } });
  expect(pipe.err()).toMatch(/^TypeError: oops\n {4}at /);
});

test('sizes have decimal units', () => {
  expect([0, 999, 1000, 52_309, 3.5e9].map(formatBytes)).toEqual(['0 B', '999 B', '1.0 kB', '52.3 kB', '3.5 GB']);
});

test('columns are as wide as their widest cell', () => {
  const rows = [
    ['a', '1'],
    ['long', '100'],
  ];
  expect(table(rows, [false, true])).toBe('a       1\nlong  100');
});
