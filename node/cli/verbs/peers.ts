import type { Command } from 'commander';
import type { Register } from '../context.ts';
import { EXIT } from '../exit-codes.ts';
import { table } from '../output.ts';
import { withService } from '../with-service.ts';

export function peersVerb(program: Command, register: Register): void {
  register(program.command('peers').description('list the peers that the node knows'), async (context) => {
    const peers = await withService(context, (service) => service.peers());
    context.output.result({ peers }, () =>
      peers.length === 0
        ? 'no peers yet'
        : table([
            ['peer', 'connected', 'recipe', 'accepted', 'address'],
            ...peers.map((peer) => [
              peer.id,
              peer.connected ? 'yes' : 'no',
              peer.head?.recipe ?? '-',
              peer.head === null ? '-' : String(peer.head.accepted),
              peer.addresses[0] ?? '-',
            ]),
          ]),
    );
    return EXIT.done;
  });
}
