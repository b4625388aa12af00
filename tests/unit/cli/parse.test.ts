import { describe, expect, test } from 'vitest';
import { parsePositive, parsePositiveCount, parseSize, parseWorkers } from '../../../node/cli/parse.ts';
import { WORKERS_MAX } from '../../../src/compute/index.ts';
import { runInProcess } from './support.ts';

describe('a size', () => {
  test.each<[string, number]>([
    ['1', 1],
    ['800000000', 8e8],
    ['800MB', 8e8],
    ['4GiB', 4 * 2 ** 30],
    ['4 gib', 4 * 2 ** 30],
    ['1.5kB', 1500],
    ['0.5KiB', 512],
    ['1.0009kB', 1000],
    ['7B', 7],
    ['2TB', 2e12],
    [String(Number.MAX_SAFE_INTEGER), Number.MAX_SAFE_INTEGER],
  ])('%s is %d bytes', (text, bytes) => {
    expect(parseSize(text)).toBe(bytes);
  });

  test.each([
    '',
    '0',
    '0GiB',
    '0.9',
    '-1',
    '4G',
    '4 GiB each',
    'GiB',
    '1e9',
    'NaN',
    'Infinity',
    '9007199254740992',
    '9999TiB',
  ])('is not what %j says', (text) => {
    expect(() => parseSize(text)).toThrow(/is not a size: give bytes/);
  });
});

describe('a number of workers', () => {
  test('is from 1 to what an engine takes', () => {
    expect([parseWorkers('1'), parseWorkers(String(WORKERS_MAX))]).toEqual([1, WORKERS_MAX]);
  });

  test.each(['0', '-1', '1.5', 'two', String(WORKERS_MAX + 1)])('is not %s', (text) => {
    expect(() => parseWorkers(text)).toThrow();
  });
});

test.each([
  ['merge', ['x.yml', '--out', 'y']],
  ['daemon', []],
  ['verify', ['x', '--base', 'y']],
  ['pull', ['--out', 'y']],
])('%s refuses engine options that make no sense before it does anything', async (verb, rest) => {
  for (const [option, value] of [
    ['--workers', '0'],
    ['--memory', '4G'],
    ['--eigensolver', 'magma'],
    ['--device', 'tpu'],
  ] as const) {
    const { code, stdout, stderr } = await runInProcess([verb, ...rest, option, value]);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toContain(value);
  }
});

describe('when to seal', () => {
  test('is a whole number of updates from 1, and hours above 0', () => {
    expect([parsePositiveCount('1'), parsePositive('0.5')]).toEqual([1, 0.5]);
    for (const text of ['0', '-1', '1.5', '', 'x']) expect(() => parsePositiveCount(text)).toThrow(/is not a/);
    for (const text of ['0', '-1', '', 'Infinity']) expect(() => parsePositive(text)).toThrow(/is not/);
  });

  test.each([
    ['--seal-every', '0'],
    ['--seal-hours', '-1'],
  ])('daemon %s %s is wrong usage', async (flag, value) => {
    expect(await runInProcess(['daemon', flag, value])).toMatchObject({ code: 2, stdout: '' });
  });
});
