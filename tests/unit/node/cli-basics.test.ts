import { readFile } from 'node:fs/promises';
import { Writable } from 'node:stream';
import { describe, expect, test } from 'vitest';
import { EXIT, exitCodeFor } from '../../../node/cli/exit-codes.ts';
import { formatBytes, Output, table } from '../../../node/cli/output.ts';
import { NodeError } from '../../../node/errors.ts';
import { VERSION } from '../../../node/version.ts';
import { KinmergeError } from '../../../src/errors.ts';

/** Streams that keep their text. */
function streams(terminal = false) {
  const written = { out: '', err: '' };
  const keep = (where: 'out' | 'err') =>
    new Writable({
      write(chunk, _encoding, done) {
        written[where] += String(chunk);
        done();
      },
    });
  const stderr = Object.assign(keep('err'), { isTTY: terminal });
  return { written, stdout: keep('out'), stderr };
}

describe('exit codes', () => {
  test('are the documented ones', () => {
    expect(EXIT).toEqual({ done: 0, failed: 1, usage: 2, refused: 3, network: 4, interrupted: 130 });
  });

  test.each([
    ['USAGE', 2],
    ['BAD_PARAMETER', 2],
    ['DEVICE_UNAVAILABLE', 2],
    ['DECLINED', 3],
    ['VERIFY_FAILED', 3],
    ['CHARTER_MISMATCH', 3],
    ['BASE_MISMATCH', 3],
    ['RECIPE_MISMATCH', 3],
    ['BAD_SIGNATURE', 3],
    ['NETWORK_UNREACHABLE', 4],
    ['INTERRUPTED', 130],
    ['POLICY_RANGE', 2],
    ['POLICY_ORDER', 2],
    ['HOME_LOCKED', 1],
    ['NOT_ALLOWED', 1],
    ['NO_SEALERS', 1],
    ['SEAL_STOPPED', 1],
    ['AUTHOR_EQUIVOCATED', 1],
    ['SOMETHING_NEW', 1],
  ])('%s exits %i', (code, exit) => {
    expect(exitCodeFor(new KinmergeError(code, 'x'))).toBe(exit);
  });

  test('an error of somebody else is a failure, whatever it calls itself', () => {
    expect(exitCodeFor(new Error('x'))).toBe(1);
    expect(exitCodeFor(Object.assign(new Error('x'), { code: 'USAGE' }))).toBe(1);
    expect(exitCodeFor('USAGE')).toBe(1);
    expect(exitCodeFor(undefined)).toBe(1);
  });
});

describe('what a command prints', () => {
  test('with --json one document on stdout and nothing else there', () => {
    const { written, stdout, stderr } = streams(true);
    const output = new Output({ json: true }, { stdout, stderr });
    output.note('a note');
    output.progress({ phase: 'x', done: 1, total: 2, unit: 'updates' });
    output.result({ id: 2n ** 70n, bytes: Uint8Array.of(1, 255), map: new Map([['a', 1]]) }, () => 'for people');
    expect(JSON.parse(written.out)).toEqual({ id: String(2n ** 70n), bytes: '01ff', map: { a: 1 } });
    expect(written.out.split('\n')).toHaveLength(2);
    expect(written.err).toBe('a note\n');
  });

  test('without --json what is for people', () => {
    const { written, stdout, stderr } = streams();
    new Output({ json: false }, { stdout, stderr }).result({}, () => 'for people');
    expect(written).toEqual({ out: 'for people\n', err: '' });
  });

  test('an error has its code and fields, on stdout with --json and on stderr without', () => {
    const error = new NodeError('HOME_LOCKED', 'in use', { pid: 7 });
    const json = streams();
    new Output({ json: true }, json).error(error);
    expect(JSON.parse(json.written.out)).toEqual({
      error: { code: 'HOME_LOCKED', message: 'in use', fields: { pid: 7 } },
    });
    expect(json.written.err).toBe('');
    const text = streams();
    new Output({ json: false }, text).error(error);
    expect(text.written.out).toBe('');
    expect(text.written.err).toContain('in use');
    expect(text.written.err).toContain('[HOME_LOCKED]');
  });

  test('an unexpected error keeps its stack on stderr', () => {
    const { written, stdout, stderr } = streams();
    new Output({ json: true }, { stdout, stderr }).error(new TypeError('our bug'));
    expect(JSON.parse(written.out).error).toMatchObject({ code: 'UNEXPECTED', message: 'our bug' });
    expect(written.err).toContain('cli-basics.test.ts');
  });

  test('progress goes to a terminal only, and is wiped before anything else', () => {
    const quiet = streams(false);
    new Output({ json: false }, quiet).progress({ phase: 'x', done: 1, total: 2, unit: 'updates' });
    expect(quiet.written.err).toBe('');
    const shown = streams(true);
    const output = new Output({ json: false }, shown);
    output.progress({ phase: 'folding', done: 1, total: 4, unit: 'updates' });
    expect(shown.written.err).toContain('folding 25% (1 of 4 updates)');
    output.note('done');
    expect(shown.written.err.endsWith('\r\u001b[Kdone\n')).toBe(true);
  });

  test('sizes and tables are readable', () => {
    expect([0, 999, 1000, 52_345, 2 ** 40].map(formatBytes)).toEqual(['0 B', '999 B', '1.0 kB', '52.3 kB', '1.1 TB']);
    expect(
      table([
        ['a', 'bb'],
        ['ccc', 'd'],
      ]),
    ).toBe('a    bb\nccc  d');
    expect(
      table(
        [
          ['a', '1'],
          ['b', '22'],
        ],
        [false, true],
      ),
    ).toBe('a   1\nb  22');
    expect(table([])).toBe('');
  });
});

test('the version is that of package.json', async () => {
  const manifest = JSON.parse(await readFile(new URL('../../../package.json', import.meta.url), 'utf8'));
  expect(VERSION).toBe(manifest.version);
});
