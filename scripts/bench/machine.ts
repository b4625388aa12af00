import { availableParallelism, cpus, release, totalmem, type } from 'node:os';
import { runProgram } from './child.ts';
import { procStatus } from './memory.ts';

export interface Machine {
  readonly cpu: string;
  /** Cores that this process may use. */
  readonly cores: number;
  readonly memoryBytes: number;
  readonly os: string;
  readonly node: string;
  /** The first line that each outside program says of its version; null where it is absent. */
  readonly programs: Readonly<Record<string, string | null>>;
}

/** Describes where a benchmark ran. `programs` maps a name to the command that tells its version. */
export async function describeMachine(programs: Readonly<Record<string, readonly string[]>>): Promise<Machine> {
  const versions = await Promise.all(
    Object.entries(programs).map(async ([name, command]) => {
      const said = await runProgram(command).then(
        ({ stdout }) => stdout.trim().split('\n')[0]!.replaceAll('*', '').trim(),
        () => null,
      );
      return [name, said] as const;
    }),
  );
  return {
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    cores: availableParallelism(),
    memoryBytes: totalmem(),
    os: `${type()} ${release()}`,
    node: process.versions.node,
    programs: Object.fromEntries(versions),
  };
}

/** Cores that the bars are about. */
export const BAR_CORES = 2;

/** `pinTo` the cores of the bars, or an error where a process cannot be kept on them. */
export async function pinToBarCores(): Promise<readonly string[]> {
  const prefix = await pinTo(BAR_CORES);
  if (prefix !== undefined) return prefix;
  throw new Error(`this machine has more than ${BAR_CORES} cores and no taskset to keep a process on ${BAR_CORES}`);
}

/**
 * What to put before a command so that it runs on `cores` cores: nothing where there are no more. Undefined where there
 * are more and nothing can limit them.
 */
export async function pinTo(cores: number): Promise<readonly string[] | undefined> {
  if (availableParallelism() <= cores) return [];
  const allowed = /^Cpus_allowed_list:\s+(.+)$/m.exec(procStatus())?.[1];
  const list = (allowed ?? '').split(',').flatMap((range) => {
    const [first, last] = range.split('-').map(Number);
    return Array.from({ length: (last ?? first ?? 0) - (first ?? 0) + 1 }, (_, i) => (first ?? 0) + i);
  });
  if (list.length < cores) return undefined;
  const prefix = ['taskset', '-c', list.slice(0, cores).join(',')];
  return runProgram([...prefix, 'true']).then(
    () => prefix,
    () => undefined,
  );
}
