/** What a device's process can be asked to do. */
import type { DeviceTask } from './device-server.ts';
import { probeTask } from './probe-task.ts';

export const deviceTasks = { probe: probeTask } satisfies Record<string, DeviceTask>;
