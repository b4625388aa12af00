import { expect, test } from 'vitest';
import { KinmergeError } from '../../../src/errors.ts';
import { asCheckpointError, CheckpointError, quote } from '../../../src/tensors/errors.ts';

test.each([
  ['ENOENT', 'NOT_FOUND'],
  ['ENOTDIR', 'NOT_FOUND'],
  ['ENOSPC', 'DISK_FULL'],
  ['EDQUOT', 'DISK_FULL'],
  ['EACCES', 'IO_FAILED'],
  ['EIO', 'IO_FAILED'],
])('%s of the operating system becomes %s', (errno, code) => {
  const cause = Object.assign(new Error('failed'), { code: errno, syscall: 'read' });
  const error = asCheckpointError(cause, '/p') as CheckpointError;
  expect(error).toBeInstanceOf(CheckpointError);
  expect([error.code, error.fields, error.cause]).toEqual([code, { path: '/p', errno }, cause]);
  expect(error.message).toContain('/p');
});

test('other errors pass unchanged', () => {
  const abort = new DOMException('aborted', 'AbortError');
  const misuse = Object.assign(new TypeError('wrong argument'), { code: 'ERR_INVALID_ARG_TYPE' });
  for (const error of [abort, misuse, new KinmergeError('X', 'x'), 'text', null]) {
    expect(asCheckpointError(error, '/p')).toBe(error);
  }
});

test('quoted names are short, visible and unambiguous', () => {
  expect(quote('a"b\\c')).toBe('"a\\"b\\\\c"');
  expect(quote('\n\u007f\u0085\u2028\u202e\ufeff')).toBe('"\\u{a}\\u{7f}\\u{85}\\u{2028}\\u{202e}\\u{feff}"');
  expect(quote('é😀')).toBe('"é😀"');
  expect(quote('\ud800')).toBe('"\ufffd"');
  expect(quote('x'.repeat(1000)).length).toBe(103);
});
