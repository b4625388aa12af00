import { peerIdFromString } from '@libp2p/peer-id';
import type { Multiaddr } from '@multiformats/multiaddr';
import { type KnownPeer, parsePeerAddress, scopeOf } from '../../protocols/index.ts';
import type { PeerBook } from './peer-book.ts';

/**
 * The addresses that a peer tells of itself, without those that cannot be dialled from where it is: a peer on the
 * internet must not make this node dial into its own network.
 *
 * @param remote - the peer's end of the connection
 */
export function dialableFrom(remote: Multiaddr, addresses: readonly Multiaddr[], id: string): string[] {
  const scope = scopeOf(remote);
  return addresses.flatMap((address) => {
    const text = address.toString();
    const parsed = parsePeerAddress(text.includes('/p2p/') ? text : `${text}/p2p/${id}`);
    if (parsed === undefined || parsed.id.toString() !== id || scopeOf(parsed.address) < scope) return [];
    return [parsed.address.toString()];
  });
}

/** Whom to tell others about: peers that this node itself has reached, the latest first. */
export function knownPeers(book: PeerBook): KnownPeer[] {
  return book
    .all()
    .filter(({ reached }) => reached > 0)
    .sort((a, b) => b.lastSeen - a.lastSeen)
    .map(({ id, addresses }) => ({
      id: peerIdFromString(id),
      addresses: addresses.flatMap((address) => parsePeerAddress(address)?.address ?? []),
    }))
    .filter(({ addresses }) => addresses.length > 0);
}
