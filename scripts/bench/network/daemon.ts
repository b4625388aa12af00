/** Real daemons, each a process of its own. */
import { readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { type ApiClient, connectApi } from '../../../node/api/client.ts';
import type { DaemonReady } from '../../../node/daemon.ts';
import { homePaths } from '../../../node/home/paths.ts';
import type { StatusDocument } from '../../../node/service/documents.ts';
import type { BenchmarkContext } from '../benchmark.ts';
import { measuredModule } from '../compiled.ts';
import { type Running, startModule } from './process.ts';

/** Longest wait for a daemon to reach a state, in milliseconds. */
const PATIENCE_MS = 240_000;
/** Between two questions, in milliseconds. */
const POLL_MS = 5;

export interface Daemon extends Running<DaemonReady> {
  readonly api: ApiClient;
}

export async function startDaemon(
  { workspace, signal }: BenchmarkContext,
  home: string,
  options: { readonly prefix?: readonly string[]; readonly peers?: readonly string[] } = {},
): Promise<Daemon> {
  const module = await measuredModule(workspace, 'network/daemon-child', signal);
  const peers = (options.peers ?? []).flatMap((peer) => ['--peer', peer]);
  const args = ['daemon', '--home', home, '--json', '--log-level', 'error', '--workers', '1', ...peers];
  const running = await startModule<DaemonReady>(module, args, { signal, prefix: options.prefix ?? [] });
  const api = await connectApi(homePaths(home).api, { signal });
  if (api === undefined) throw new Error(`the daemon of ${home} has no API`);
  return { ...running, api };
}

/** Asks until the status is as wanted. */
export async function until(
  { api }: Daemon,
  holds: (status: StatusDocument) => boolean,
  signal: AbortSignal,
): Promise<StatusDocument> {
  const deadline = performance.now() + PATIENCE_MS;
  for (;;) {
    const status = await api.status();
    if (holds(status)) return status;
    if (performance.now() > deadline) throw new Error(`not reached in time: ${JSON.stringify(status.log)}`);
    await sleep(POLL_MS, undefined, { signal });
  }
}

/** Admission has caught up with the log: every held update is accepted or declined. */
export function decided({ log, deciding }: StatusDocument): boolean {
  return !deciding && log.accepted + log.declined === log.held;
}

/** Admission and fold have caught up with the log. */
export function upToDate(status: StatusDocument): boolean {
  return decided(status) && (status.recipe.updates === 0 || status.checkpoint?.recipe === status.recipe.id);
}

/** Resident bytes of a running process at its peak. @throws where there is no /proc */
export async function peakOf({ pid }: Daemon): Promise<number> {
  const kib = /^VmHWM:\s+(\d+) kB$/m.exec(await readFile(`/proc/${pid}/status`, 'utf8'))?.[1];
  if (kib === undefined) throw new Error(`the peak memory of process ${pid} is not known`);
  return Number(kib) * 1024;
}
