import { appendFileSync, copyFileSync, fstatSync, lstatSync, openSync, writeSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { threadId } from 'node:worker_threads';
import type { Operation, TraceLine, TraceOptions } from './format.ts';
import { KillPoint, killSelf } from './kill-point.ts';

// Before the functions of `node:fs` are replaced.
const original = { appendFileSync, copyFileSync, fstatSync, lstatSync, openSync, writeSync };

/** An open file of a traced path. */
export interface Opened {
  readonly id: string;
  readonly path: string;
}

/** An operation that begins; `reading`: the opening of a file that is only read, which no phase counts. */
interface Begun {
  readonly op: Operation;
  readonly path: string;
  readonly to?: string;
  readonly handle?: string;
  readonly reading?: boolean;
}

type End = Omit<Extract<TraceLine, { type: 'end' }>, 'type' | 'id' | 'ok'>;

/** Writes the trace of one thread, and kills the process where that is asked for. */
export class Tracer {
  readonly #options: TraceOptions;
  readonly #point: KillPoint;
  readonly #trace: number;
  #count = 0;

  constructor(options: TraceOptions) {
    this.#options = options;
    this.#point = new KillPoint(options);
    // Lines of several threads are whole: each is one write to the end of the file.
    this.#trace = original.openSync(options.trace, 'a');
  }

  /** The absolute path when it is traced. */
  covered(path: unknown): string | undefined {
    if (typeof path !== 'string' && !(path instanceof URL) && !Buffer.isBuffer(path)) return undefined;
    const absolute = resolve(path instanceof URL ? path.pathname : path.toString());
    return this.#point.covers(absolute) ? absolute : undefined;
  }

  exists(path: string): boolean {
    return original.lstatSync(path, { throwIfNoEntry: false }) !== undefined;
  }

  size(fd: number): number {
    return original.fstatSync(fd).size;
  }

  /** What a sync that begins now makes safe at least: the content as it is. Undefined for a directory. */
  copy(fd: number): string | undefined {
    const { copies } = this.#options;
    if (copies === null || original.fstatSync(fd).isDirectory()) return undefined;
    const name = `${threadId}-${++this.#count}`;
    original.copyFileSync(`/proc/self/fd/${fd}`, join(copies, name));
    return name;
  }

  nextId(): string {
    return `${threadId}.${++this.#count}`;
  }

  /** Runs one operation between its two lines. */
  async run<T>(what: Begun, work: () => Promise<T>, describe: (result: T) => End = () => ({})): Promise<T> {
    const end = this.begin(what);
    try {
      const result = await work();
      end(true, describe(result));
      return result;
    } catch (error) {
      end(false);
      throw error;
    }
  }

  /** The same for work that tells its end by a callback: call the returned function then. */
  begin({ reading = false, ...what }: Begun): (ok: boolean, end?: End) => void {
    const id = this.nextId();
    const counted = reading ? undefined : this.#point.count(what.op, what.path, what.to);
    const { token, nth, kill } = counted ?? {};
    const number = token === undefined ? {} : { counted: { token, nth: nth! } };
    this.#write({ type: 'begin', id, ...what, ...number });
    if (kill === 'before') this.#kill(id, kill);
    return (ok, end = {}) => {
      this.#write({ type: 'end', id, ok, ...end });
      if (kill === 'after') this.#kill(id, kill);
    };
  }

  #kill(id: string, when: 'before' | 'after'): never {
    this.#write({ type: 'kill', id, when });
    killSelf();
  }

  #write(line: TraceLine): void {
    original.writeSync(this.#trace, `${JSON.stringify(line)}\n`);
  }
}
