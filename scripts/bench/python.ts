/** Python interpreters that have what a reference needs. */
import { runProgram } from './child.ts';

/** Where a Debian system has the interpreter that its packages are for. */
export const SYSTEM_PYTHON = '/usr/bin/python3';
const INSTALL_TORCH = ['apt-get', 'install', '-y', '--no-install-recommends', 'python3-torch'];

/** The first interpreter that runs the arguments to a good end. */
export async function firstPython(
  candidates: readonly string[],
  args: readonly string[],
  signal: AbortSignal,
): Promise<string | undefined> {
  for (const python of candidates) {
    const works = await runProgram([python, ...args], { signal }).then(
      () => true,
      () => false,
    );
    signal.throwIfAborted();
    if (works) return python;
  }
  return undefined;
}

/**
 * An interpreter that can import torch: `wanted`, else the one on the path, else the system's. With `install` it is
 * installed from the system's packages where it is absent.
 */
export async function findTorch(options: {
  readonly wanted: string | undefined;
  readonly install: boolean;
  readonly signal: AbortSignal;
}): Promise<string> {
  const { wanted, install, signal } = options;
  const candidates = wanted === undefined ? ['python3', SYSTEM_PYTHON] : [wanted];
  const find = () => firstPython(candidates, ['-c', 'import torch'], signal);
  const found = await find();
  if (found !== undefined) return found;
  const absent = `no torch in ${candidates.join(', ')}`;
  const command = INSTALL_TORCH.join(' ');
  if (!install) throw new Error(`${absent}; install it (\`${command}\`) or run with --install-torch`);
  if (process.getuid?.() !== 0) throw new Error(`${absent}, and only root may install it: \`sudo ${command}\``);
  await runProgram(INSTALL_TORCH, { signal });
  const installed = await find();
  if (installed === undefined) throw new Error(`${absent}, even after \`${command}\``);
  return installed;
}
