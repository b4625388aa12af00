import { ComputeError, type Device, type Phase } from '../compute/index.ts';

/**
 * Holds a merge to the device that was asked for by name: its large products must have run there.
 *
 * @param phases - as the engine measured them
 * @throws ComputeError `WRONG_DEVICE` when products ran elsewhere, with what each device did among its fields
 */
export function checkAskedDevice(asked: Device | undefined, phases: readonly Phase[]): void {
  if (asked === undefined || asked === 'auto') return;
  const products = phases.filter(({ name, gflop }) => name === 'products' && gflop > 0);
  const elsewhere = products.filter(({ device }) => device !== asked);
  if (elsewhere.length === 0) return;
  const devices = elsewhere.map(({ device }) => device).join(', ');
  throw new ComputeError(
    'WRONG_DEVICE',
    `The device '${asked}' was asked for, but large products ran on: ${devices}. Nothing was written. ` +
      "Look at what the device said before, or use the device 'auto', which takes what works.",
    { asked, products: products.map(({ device, seconds, gflop }) => ({ device, seconds, gflop })) },
  );
}
