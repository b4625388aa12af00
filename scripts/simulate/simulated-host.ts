import type { Libp2p } from '@libp2p/interface';
import type { createHost } from '../../protocols/index.ts';
import { SimHost } from './host.ts';
import { PeersModel } from './peers-model.ts';
import type { Place } from './world.ts';

/**
 * Stands in for `createHost` of the protocols: the daemon's services for sync and blocks over the simulated network, and
 * the models of gossip and of the exchange of addresses.
 */
export function simulatedHost(place: Place): typeof createHost {
  return async (init, factories) => {
    const host = new SimHost(init, place);
    const peers = new PeersModel({ host, parsed: place.world.parsed });
    const services: Record<string, unknown> = { gossip: host.gossip, peers };
    // The protocols' services take the small part of libp2p's components that `SimHost.components` has.
    for (const [name, create] of Object.entries(factories as Record<string, (components: unknown) => unknown>)) {
      services[name] ??= create(host.components);
    }
    await host.start(services);
    return host as unknown as Libp2p<never>;
  };
}
