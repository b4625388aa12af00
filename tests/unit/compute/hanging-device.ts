/** A device's process that never answers a probe; as `cuda`, it dies of it. */
import { serveDevice } from '../../../src/compute/provider/device-server.ts';
import type { Provider } from '../../../src/compute/provider/provider-sessions.ts';

const provider = process.argv[2] as Provider;
serveDevice(provider, {
  async probe() {
    if (provider === 'cuda') process.kill(process.pid, 'SIGKILL');
    for (;;);
  },
});
