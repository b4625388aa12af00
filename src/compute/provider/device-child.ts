/** The process of one device: `device-child PROVIDER`. */
import { serveDevice } from './device-server.ts';
import { deviceTasks } from './device-tasks.ts';
import type { Provider } from './provider-sessions.ts';

serveDevice(process.argv[2] as Provider, deviceTasks);
