import { readFileSync } from 'node:fs';

const KIB = 1024;

/** Resident memory of this process in bytes: now, and the most so far. */
export function residentMemory(): { readonly now: number; readonly peak: number } {
  // The kernel's own high-water mark starts anew with every program; that of getrusage is inherited from the parent.
  const status = procStatus();
  const field = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(status)?.[1]) * KIB;
  const [now, peak] = [field('VmRSS'), field('VmHWM')];
  if (now > 0 && peak > 0) return { now, peak };
  return { now: process.memoryUsage.rss(), peak: process.resourceUsage().maxRSS * KIB };
}

/** `/proc/self/status`; empty where there is none. */
export function procStatus(): string {
  try {
    return readFileSync('/proc/self/status', 'utf8');
  } catch {
    return '';
  }
}
