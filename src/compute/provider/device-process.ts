/** The asking side of a device's process: starts it, hands it one call at a time, and takes note when it dies. */
import { type ChildProcess, fork } from 'node:child_process';
import type { Socket } from 'node:net';
import type { RunOptions } from '../../run-options.ts';
import { disableTelemetry } from '../../telemetry.ts';
import { siblingModule } from '../../worker-url.ts';
import { STOP_GRACE_MS } from '../cpu/cpu-engine.ts';
import { ComputeError } from '../errors.ts';
import { errorOf } from '../failures.ts';
import type { FromDevice, ToDevice } from './device-messages.ts';
import { headOfParcel, IncomingParcel, type Parcel, piecesOf } from './parcels.ts';
import type { Provider } from './provider-sessions.ts';

/** Characters kept of what the process wrote to its standard error, for the message when it dies. */
export const STDERR_TAIL = 2_000;

export interface DeviceProcessOptions {
  readonly provider: Provider;
  /** The process's module; another one only in tests. */
  readonly moduleUrl?: URL;
  /** Milliseconds for the slice under way when a call is cancelled or the process closed. Default: STOP_GRACE_MS. */
  readonly stopGraceMs?: number;
}

interface Call {
  readonly id: number;
  readonly task: string;
  readonly parcel: Parcel;
  readonly settled: PromiseWithResolvers<Parcel>;
  cancelled: boolean;
  reply: IncomingParcel | null;
}

/**
 * A process of its own for a device that may end it: a provider other than `cpu` may only be used by one thread of a
 * process, and takes the process with it when it fails. Started with the first call, and again after it died. It
 * writes nothing to standard output, ends with the process that started it, and keeps that one alive only during calls.
 */
export class DeviceProcess {
  readonly provider: Provider;
  readonly #moduleUrl: URL;
  readonly #stopGraceMs: number;
  readonly #waiting: Call[] = [];
  #child: ChildProcess | null = null;
  #call: Call | null = null;
  #calls = 0;
  #closing: Promise<void> | null = null;

  constructor(options: DeviceProcessOptions) {
    this.provider = options.provider;
    this.#moduleUrl = options.moduleUrl ?? siblingModule(import.meta.url, './device-child');
    this.#stopGraceMs = options.stopGraceMs ?? STOP_GRACE_MS;
  }

  /** Of the running process; null when there is none. */
  get pid(): number | null {
    return this.#child?.pid ?? null;
  }

  /**
   * Runs a task of the process. The parcel's arrays are copied to it and must not change until the call settles.
   *
   * @throws ComputeError `WORKER_CRASHED` when the process died, `ENGINE_CLOSED`, and what the task throws; the
   *   signal's reason when aborted
   */
  async call(task: string, parcel: Parcel, { signal }: RunOptions = {}): Promise<Parcel> {
    signal?.throwIfAborted();
    if (this.#closing !== null) throw closed();
    const settled = Promise.withResolvers<Parcel>();
    const call: Call = { id: ++this.#calls, task, parcel, settled, cancelled: false, reply: null };
    const onAbort = (): void => this.#cancel(call, signal?.reason);
    signal?.addEventListener('abort', onAbort, { once: true });
    try {
      this.#waiting.push(call);
      this.#dispatch();
      return await settled.promise;
    } finally {
      signal?.removeEventListener('abort', onAbort);
    }
  }

  /** Ends the process; calls under way fail with `ENGINE_CLOSED`. Safe to call twice. */
  close(): Promise<void> {
    this.#closing ??= this.#shutDown();
    return this.#closing;
  }

  /** Takes the process away; a call that it was given meanwhile and all later ones get a fresh one. */
  discard(): void {
    const child = this.#child;
    const call = this.#call;
    this.#child = null;
    this.#call = null;
    child?.kill('SIGKILL');
    if (call !== null && !call.cancelled) {
      call.reply = null;
      this.#waiting.unshift(call);
    }
    this.#dispatch();
  }

  #dispatch(): void {
    if (this.#call !== null || this.#closing !== null) return;
    const call = this.#waiting.shift();
    if (call === undefined) return;
    try {
      this.#child ??= this.#start();
    } catch (cause) {
      const text = `The process of the ${this.provider} device cannot be started. Free memory, and close files or programs.`;
      const fields = { provider: this.provider, cause: String(cause) };
      call.settled.reject(new ComputeError('WORKER_CRASHED', text, fields, { cause }));
      this.#dispatch();
      return;
    }
    this.#call = call;
    keepAlive(this.#child, true);
    void this.#hand(this.#child, call);
  }

  #start(): ChildProcess {
    disableTelemetry();
    const child = fork(this.#moduleUrl, [this.provider], {
      serialization: 'advanced',
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
      env: process.env,
      execArgv: [],
    });
    let errors = '';
    // First of all: a process for which there is no file descriptor left has no streams either.
    child.on('error', (error) => this.#onEnd(child, { cause: String(error), stderr: errors }));
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      errors = (errors + text).slice(-STDERR_TAIL);
    });
    child.on('message', (message: FromDevice) => this.#onMessage(child, message));
    // After `close` nothing more comes from its standard error.
    child.on('close', (code, signal) => this.#onEnd(child, { code, signal, stderr: errors }));
    return child;
  }

  async #hand(child: ChildProcess, call: Call): Promise<void> {
    await send(child, { kind: 'call', id: call.id, task: call.task, ...headOfParcel(call.parcel) });
    for (const piece of piecesOf(call.parcel, call.id)) {
      if (call.cancelled || this.#child !== child) break;
      await send(child, piece);
    }
  }

  #onMessage(child: ChildProcess, message: FromDevice): void {
    const call = this.#call;
    if (this.#child !== child || call === null || message.id !== call.id) return;
    if (message.kind === 'done') call.reply = new IncomingParcel(message);
    if (message.kind === 'piece') call.reply?.add(message);
    const whole = call.reply?.whole ?? null;
    if (message.kind === 'failed') call.settled.reject(errorOf(message));
    else if (whole !== null) call.settled.resolve(whole);
    else if (message.kind !== 'cancelled') return;
    this.#call = null;
    keepAlive(child, false);
    this.#dispatch();
  }

  #onEnd(child: ChildProcess, how: { readonly stderr: string } & Readonly<Record<string, unknown>>): void {
    if (this.#child !== child) return;
    const call = this.#call;
    this.#child = null;
    this.#call = null;
    const text = `The process of the ${this.provider} device died during its work.`;
    call?.settled.reject(new ComputeError('WORKER_CRASHED', text, { provider: this.provider, ...how }));
    this.#dispatch();
  }

  #cancel(call: Call, reason: unknown): void {
    call.cancelled = true;
    call.settled.reject(reason);
    const index = this.#waiting.indexOf(call);
    if (index >= 0) this.#waiting.splice(index, 1);
    if (this.#call !== call || this.#child === null) return;
    void send(this.#child, { kind: 'cancel', id: call.id });
    setTimeout(() => {
      if (this.#call === call) this.discard();
    }, this.#stopGraceMs).unref();
  }

  async #shutDown(): Promise<void> {
    for (const call of this.#waiting.splice(0)) call.settled.reject(closed());
    this.#call?.settled.reject(closed());
    this.#call = null;
    const child = this.#child;
    this.#child = null;
    if (child === null || child.exitCode !== null || child.signalCode !== null) return;
    const left = new Promise<void>((resolve) => child.once('exit', () => resolve()));
    keepAlive(child, true);
    if (child.connected) child.disconnect();
    const timer = setTimeout(() => child.kill('SIGKILL'), this.#stopGraceMs);
    await left;
    clearTimeout(timer);
  }
}

/** Resolves when the message is on its way, or can no longer be: the end of the process is told by its own event. */
function send(child: ChildProcess, message: ToDevice): Promise<void> {
  return new Promise((resolve) => {
    if (child.connected) child.send(message, () => resolve());
    else resolve();
  });
}

function keepAlive(child: ChildProcess, alive: boolean): void {
  const handles = [child, child.channel, child.stderr as Socket | null];
  for (const handle of handles) {
    if (alive) handle?.ref();
    else handle?.unref();
  }
}

function closed(): ComputeError {
  return new ComputeError('ENGINE_CLOSED', 'The matrix engine was closed. Open a new one to go on.');
}
