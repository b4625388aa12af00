/** Whether the large products ran where they were asked for. */
import type { Device } from './engine.ts';
import { ComputeError } from './errors.ts';
import type { Phase } from './meter.ts';

/**
 * Nobody who asked for a device should be left to find out from the time it took that the CPU did the work.
 *
 * @param asked - `auto` may come to anything
 * @throws ComputeError `WRONG_DEVICE` when large products ran on another device
 */
export function checkProductsOn(asked: Device, phases: readonly Pick<Phase, 'name' | 'device'>[]): void {
  if (asked === 'auto') return;
  const others = phases.filter(({ name, device }) => name === 'products' && device !== asked);
  if (others.length === 0) return;
  const found = [...new Set(others.map(({ device }) => device))];
  throw new ComputeError(
    'WRONG_DEVICE',
    `The device '${asked}' was asked for, and large products ran on ${found.join(' and ')}. Look at the notices of the ` +
      "run, or ask for the device 'auto'.",
    { asked, found },
  );
}
