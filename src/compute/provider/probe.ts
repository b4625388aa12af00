/** Finds out which devices of this machine work. */

import { ComputeError } from '../errors.ts';
import { DeviceProcess } from './device-process.ts';
import { installHint } from './install-hints.ts';
import type { ProbeRates } from './probe-task.ts';
import type { Provider } from './provider-sessions.ts';

/** Milliseconds for one probe. A driver takes a second or two to start; one that takes longer than this hangs. */
export const PROBE_TIMEOUT_MS = 60_000;

/**
 * A device has to be this many times as fast as the CPU for `auto` to take it: what is won by less goes into carrying
 * matrices to it, and float32 is not worth that. A driver that computes on the CPU itself never gets there.
 */
export const AUTO_ADVANTAGE = 1.5;

/** Devices that `auto` tries, the first that will do; the others were never tested. */
export const AUTO_PROVIDERS = ['cuda', 'webgpu'] as const satisfies readonly Provider[];

export type ProbeOutcome =
  | { readonly works: true; readonly rates: ProbeRates | null }
  | { readonly works: false; readonly reason: string };

export interface ProbeOptions {
  /** Whether to measure rates too. Default: false. */
  readonly rates?: boolean;
  /** Default: PROBE_TIMEOUT_MS. */
  readonly timeoutMs?: number;
  /** The module of the device's process; another one only in tests. */
  readonly moduleUrl?: URL;
}

/** Runs a small product on the device, in a process of its own, and checks it. Never throws. */
export async function probeDevice(provider: Provider, options: ProbeOptions = {}): Promise<ProbeOutcome> {
  const { rates = false, timeoutMs = PROBE_TIMEOUT_MS, moduleUrl } = options;
  const process = new DeviceProcess({ provider, ...(moduleUrl && { moduleUrl }), stopGraceMs: 0 });
  try {
    const signal = AbortSignal.timeout(timeoutMs);
    const { fields } = await process.call('probe', { fields: { rates }, arrays: {} }, { signal });
    return { works: true, rates: fields as ProbeRates | null };
  } catch (error) {
    return { works: false, reason: reasonOf(error, timeoutMs) };
  } finally {
    await process.close();
  }
}

/** Outcomes of this process: drivers do not come and go while it runs, and each probe takes up to a few seconds. */
const known = new Map<string, Promise<ProbeOutcome>>();

/** As `probeDevice` with its defaults, once for the process. */
export function probeOnce(provider: Provider, rates: boolean): Promise<ProbeOutcome> {
  const key = `${provider} ${rates}`;
  let outcome = known.get(key);
  if (outcome === undefined) {
    outcome = probeDevice(provider, { rates });
    known.set(key, outcome);
  }
  return outcome;
}

/** @throws ComputeError `DEVICE_UNAVAILABLE`, with the reason and how to get the device */
export async function requireDevice(provider: Provider): Promise<void> {
  const outcome = await probeOnce(provider, false);
  if (outcome.works) return;
  const hint = installHint(provider);
  throw new ComputeError(
    'DEVICE_UNAVAILABLE',
    `The device '${provider}' is not available: ${outcome.reason}. ${hint} Or use the device 'cpu'.`,
    { device: provider, reason: outcome.reason, hint },
  );
}

export interface AutoChoice {
  /** Null for the CPU. */
  readonly provider: Provider | null;
  /** Why, as a phrase. */
  readonly why: string;
}

/**
 * What `auto` comes to: the first device that multiplies clearly faster than the CPU does on `threads` threads.
 * The names of adapters are not looked at, which onnxruntime does not tell: a software driver is recognised by its pace.
 */
export async function chooseDevice(threads: number): Promise<AutoChoice> {
  const refused: string[] = [];
  for (const provider of AUTO_PROVIDERS) {
    const outcome = await probeOnce(provider, true);
    if (!outcome.works) {
      refused.push(`${provider}: ${outcome.reason}`);
      continue;
    }
    const verdict = compareRates(provider, outcome.rates!, threads);
    if (verdict.takes) return { provider, why: verdict.text };
    refused.push(verdict.text);
  }
  return { provider: null, why: refused.join('; ') };
}

/** Whether a device is worth taking, and both rates in words. */
export function compareRates(
  provider: Provider,
  rates: ProbeRates,
  threads: number,
): { readonly takes: boolean; readonly text: string } {
  const cpu = rates.cpu * threads;
  const text = `${provider} multiplies at ${rates.device.toFixed(0)} GFLOP/s, the CPU at ${cpu.toFixed(0)}`;
  return { takes: rates.device >= AUTO_ADVANTAGE * cpu, text };
}

function reasonOf(error: unknown, timeoutMs: number): string {
  if (error instanceof DOMException && error.name === 'TimeoutError') {
    return `it did not answer within ${timeoutMs / 1000} s`;
  }
  if (error instanceof ComputeError && error.code === 'WORKER_CRASHED') {
    const { signal, code } = error.fields;
    return `its process died (${signal ?? `exit code ${code}`})`;
  }
  const text = error instanceof Error ? error.message : String(error);
  // What onnxruntime says begins with the place in its own source; the last sentence has the reason.
  return text
    .replace(/^.*?Error: /s, '')
    .replace(/^.* was false\. /s, '')
    .trim()
    .replace(/\.$/, '');
}
