import { publicKeyFromRaw } from '@libp2p/crypto/keys';
import { peerIdFromPublicKey } from '@libp2p/peer-id';
import type { Network } from '../net/network.ts';
import type { PeerDocument } from './documents.ts';

/** Every peer that the node remembers or is connected to. */
export function describePeers(network: Network): PeerDocument[] {
  const heads = new Map(
    network.heads.all().map((head) => [peerIdFromPublicKey(publicKeyFromRaw(head.node)).toString(), head]),
  );
  const remembered = new Map(network.book.all().map((peer) => [peer.id, peer]));
  const connected = new Set(network.connected());
  return [...new Set([...connected, ...remembered.keys()])].map((id) => {
    const peer = remembered.get(id);
    const head = heads.get(id);
    return {
      id,
      addresses: peer?.addresses ?? [],
      connected: connected.has(id),
      lastSeen: peer === undefined || peer.lastSeen === 0 ? null : peer.lastSeen,
      head: head === undefined ? null : { recipe: head.recipe.toString(), accepted: head.accepted, held: head.held },
    };
  });
}
