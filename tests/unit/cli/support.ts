import { PassThrough } from 'node:stream';
import { run } from '../../../node/cli/main.ts';

/** A command line in this process, with its streams kept as text. */
export async function runInProcess(
  argv: readonly string[],
  options: { readonly signal?: AbortSignal; readonly terminal?: boolean } = {},
): Promise<{ code: number; stdout: string; stderr: string }> {
  const [stdout, stderr] = [new PassThrough(), Object.assign(new PassThrough(), { isTTY: options.terminal === true })];
  const code = await run(argv, { stdout, stderr, signal: options.signal ?? new AbortController().signal });
  const text = (stream: PassThrough) => String(stream.read() ?? '');
  return { code, stdout: text(stdout), stderr: text(stderr) };
}
