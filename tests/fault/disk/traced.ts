import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Disk } from './disk.ts';
import { type Arming, TRACE_VARIABLE, type TraceLine, type TraceOptions } from './trace/format.ts';
import type { PhaseName } from './trace/phases.ts';

const PRELOAD = fileURLToPath(new URL('./trace/preload.ts', import.meta.url));

/** What the killed process was at. */
export interface Killed {
  readonly when: 'before' | 'after';
  readonly op: string;
  readonly path: string;
  readonly nth: number;
}

/** One process whose files are traced, from before its start to after its end. */
export class Traced {
  /** For the command line of the process, before the program. */
  readonly execArgv = ['--import', PRELOAD];
  readonly env: Record<string, string>;
  readonly #options: TraceOptions;
  readonly #disk: Disk | null;
  #armings = 0;

  private constructor(options: TraceOptions, disk: Disk | null) {
    this.#options = options;
    this.#disk = disk;
    this.env = { [TRACE_VARIABLE]: JSON.stringify(options) };
  }

  /**
   * @param work - an empty or a missing directory, outside the roots
   * @param powerLoss - keep what is needed to tell what a power loss leaves; both roots must exist
   */
  static async prepare(work: string, roots: TraceOptions['roots'], { powerLoss = false } = {}): Promise<Traced> {
    await rm(work, { recursive: true, force: true });
    const copies = join(work, 'copies');
    await mkdir(copies, { recursive: true });
    const options = {
      roots,
      trace: join(work, 'trace.jsonl'),
      arm: join(work, 'arm.json'),
      copies: powerLoss ? copies : null,
    };
    await writeFile(options.trace, '');
    return new Traced(options, powerLoss ? await Disk.of([roots.home, roots.out], copies) : null);
  }

  /** Kills the process at the `nth` operation of the phase from now on. @returns the arming's token */
  async arm(phase: PhaseName, nth: number, when: Arming['when']): Promise<number> {
    const arming: Arming = { token: this.#armings++, phase, nth, when };
    const temp = `${this.#options.arm}.tmp`;
    await writeFile(temp, JSON.stringify(arming));
    await rename(temp, this.#options.arm);
    return arming.token;
  }

  async disarm(): Promise<void> {
    await rm(this.#options.arm, { force: true });
  }

  async trace(): Promise<TraceLine[]> {
    const text = await readFile(this.#options.trace, 'utf8');
    return text
      .split('\n')
      .slice(0, -1)
      .map((line) => JSON.parse(line) as TraceLine);
  }

  /** Operations that an arming has counted so far. */
  async counted(token: number): Promise<number> {
    const lines = await this.trace();
    return lines.filter((line) => line.type === 'begin' && line.counted?.token === token).length;
  }

  /** Where the process killed itself; undefined when it did not. */
  async killed(): Promise<Killed | undefined> {
    const lines = await this.trace();
    const kill = lines.find((line) => line.type === 'kill');
    const at = lines.find((line) => line.type === 'begin' && line.id === kill?.id);
    if (kill?.type !== 'kill' || at?.type !== 'begin') return undefined;
    const root = at.path.startsWith(this.#options.roots.home) ? this.#options.roots.home : this.#options.roots.out;
    return { when: kill.when, op: at.op, path: at.path.slice(root.length + 1), nth: at.counted!.nth };
  }

  /** What is on the disk. The process must be gone. */
  async disk(): Promise<Disk> {
    if (this.#disk === null) throw new Error('the process was not prepared for a power loss');
    this.#disk.follow(await this.trace());
    return this.#disk;
  }
}
