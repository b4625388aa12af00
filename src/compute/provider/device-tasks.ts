/** What a device's process can be asked to do. */
import type { DeviceTask } from './device-server.ts';
import { probeTask } from './probe-task.ts';
import { productsTask } from './products-task.ts';

export const deviceTasks = { probe: probeTask, products: productsTask } satisfies Record<string, DeviceTask>;
