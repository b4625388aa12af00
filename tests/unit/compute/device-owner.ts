/** Starts a device's process, prints its id, and then has nothing to do (`leave`) or waits to be killed (`wait`). */
import { DeviceProcess } from '../../../src/compute/provider/device-process.ts';

const moduleUrl = new URL('./device-test-child.ts', import.meta.url);
const device = new DeviceProcess({ provider: 'webgpu', moduleUrl });
await device.call('environment', { fields: null, arrays: {} });
if (process.argv[2] === 'wait') setInterval(() => undefined, 1_000);
process.stdout.write(`${device.pid}\n`);
