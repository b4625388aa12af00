import { readFile } from 'node:fs/promises';
import { Command } from 'commander';
import { describe, expect, test } from 'vitest';
import { exitCodeFor } from '../../../node/cli/exit-codes.ts';
import { verbGroups } from '../../../node/cli/verbs/index.ts';
import { NodeError } from '../../../node/errors.ts';
import { VERSION } from '../../../node/version.ts';
import { KinmergeError } from '../../../src/errors.ts';
import { runInProcess } from './support.ts';

describe('help and version', () => {
  test.each(['--help', 'help', 'encode --help', 'help evaluate'])('%s exits 0', async (line) => {
    const { code, stdout, stderr } = await runInProcess(line.split(' '));
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toMatch(/^Usage: kinmerge/);
  });

  test('--help lists every verb', async () => {
    const { stdout } = await runInProcess(['--help']);
    for (const word of verbGroups.flatMap(({ words }) => words)) {
      expect(stdout).toMatch(new RegExp(`^  ${word}\\b`, 'm'));
    }
  });

  test('a verb is found under exactly the names of its group', async () => {
    for (const group of verbGroups) {
      const program = new Command();
      (await group.load())(program, () => {});
      expect(program.commands.map((command) => command.name())).toEqual(group.words);
    }
  });

  test('--version prints the version of the package', async () => {
    const manifest = JSON.parse(await readFile(new URL('../../../package.json', import.meta.url), 'utf8'));
    expect(VERSION).toBe(manifest.version);
    expect(await runInProcess(['--version'])).toEqual({ code: 0, stdout: `${VERSION}\n`, stderr: '' });
  });
});

describe('wrong usage exits 2', () => {
  const wrong: [string, string[]][] = [
    ['no verb', []],
    ['an unknown verb', ['frobnicate']],
    ['an unknown option', ['inspect', 'x', '--frobnicate']],
    ['a missing argument', ['inspect']],
    ['an argument too many', ['inspect', 'a', 'b']],
    ['a missing option', ['encode', 'x', '--base', 'y']],
    ['a value that is no number', ['encode', 'x', '--base', 'y', '--out', 'z', '--density', 'a lot']],
    ['a value outside the choices', ['encode', 'x', '--base', 'y', '--out', 'z', '--mode', 'local']],
    ['a group without its verb', ['community']],
  ];

  test.each(wrong)('%s', async (_what, argv) => {
    const { code, stdout, stderr } = await runInProcess(argv);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).not.toBe('');
  });

  test.each(wrong.filter(([, argv]) => argv.length > 0))('%s, as JSON', async (_what, argv) => {
    const { code, stdout } = await runInProcess([...argv, '--json']);
    expect(code).toBe(2);
    const document = JSON.parse(stdout);
    expect(document.error).toMatchObject({ code: 'USAGE', fields: {} });
    expect(document.error.message).not.toMatch(/^error:|outputHelp/);
  });
});

describe('exit codes', () => {
  test.each([
    ['USAGE', 2],
    ['CONFIG_INVALID', 2],
    ['DECLINED', 3],
    ['VERIFY_FAILED', 3],
    ['BAD_SIGNATURE', 3],
    ['NETWORK_UNREACHABLE', 4],
    ['INTERRUPTED', 130],
    ['NOT_FINITE', 1],
  ])('%s: %d', (code, exit) => {
    expect(exitCodeFor(new KinmergeError(code, 'text'))).toBe(exit);
  });

  test('what is not ours: 1', () => {
    expect(exitCodeFor(new TypeError('oops'))).toBe(1);
  });

  test('an interrupt wins over what it broke', async () => {
    const signal = AbortSignal.abort(new NodeError('INTERRUPTED', 'interrupted'));
    const { code, stdout } = await runInProcess(['inspect', '/nothing', '--json'], { signal });
    expect(code).toBe(130);
    expect(JSON.parse(stdout)).toEqual({ error: { code: 'INTERRUPTED', message: 'interrupted', fields: {} } });
  });
});
