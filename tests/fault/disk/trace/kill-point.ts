import { readFileSync } from 'node:fs';
import { relative, sep } from 'node:path';
import { getEnvironmentData, isMainThread, setEnvironmentData } from 'node:worker_threads';
import { type Arming, MAX_ARMINGS, type TraceOptions } from './format.ts';
import { inPhase, type Placed } from './phases.ts';

const COUNTERS = 'kinmerge-test-trace-counters';

// Before the functions of `node:fs` are replaced.
const read = readFileSync;

/** Counts the operations of the armed phase over all threads of the process, and says which of them is its last. */
export class KillPoint {
  readonly #options: TraceOptions;
  readonly #counters: Int32Array;

  constructor(options: TraceOptions) {
    this.#options = options;
    if (isMainThread) setEnvironmentData(COUNTERS, new SharedArrayBuffer(MAX_ARMINGS * 4) as never);
    this.#counters = new Int32Array(getEnvironmentData(COUNTERS) as unknown as SharedArrayBuffer);
  }

  /** Whether a path is one that is traced. */
  covers(path: string): boolean {
    return this.#placeOf(path) !== undefined;
  }

  /** Counts an operation that is about to begin; undefined for one that the armed phase has no part in. */
  count(
    op: Placed['op'],
    path: string,
    to: string | undefined,
  ): { token: number; nth: number; kill: Arming['when'] | null } | undefined {
    const arming = this.#arming();
    if (arming === undefined) return undefined;
    const place = this.#placeOf(path);
    const target = to === undefined ? undefined : this.#placeOf(to)?.path;
    if (place === undefined || !inPhase(arming.phase, { ...place, op, to: target })) return undefined;
    const nth = Atomics.add(this.#counters, arming.token, 1) + 1;
    return { token: arming.token, nth, kill: nth === arming.nth ? arming.when : null };
  }

  #arming(): Arming | undefined {
    try {
      return JSON.parse(read(this.#options.arm, 'utf8')) as Arming;
    } catch {
      return undefined;
    }
  }

  #placeOf(path: string): Pick<Placed, 'in' | 'path'> | undefined {
    for (const root of ['home', 'out'] as const) {
      const inside = relative(this.#options.roots[root], path);
      if (inside !== '..' && !inside.startsWith(`..${sep}`)) return { in: root, path: inside.split(sep).join('/') };
    }
    return undefined;
  }
}

/** Ends this process as `kill -9` does: the thread does nothing more. */
export function killSelf(): never {
  process.kill(process.pid, 'SIGKILL');
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
  throw new Error('unreachable');
}
