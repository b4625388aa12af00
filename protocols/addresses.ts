/** What counts as an address of a peer: `/ip4|ip6|dns.../tcp/PORT/p2p/ID`, in canonical form, and nothing around it. */
import type { PeerId } from '@libp2p/interface';
import { peerIdFromString } from '@libp2p/peer-id';
import { isLoopback, isPrivate } from '@libp2p/utils';
import { type Multiaddr, multiaddr } from '@multiformats/multiaddr';

/** Where an address can be dialled from; a higher number is the wider scope. */
export type AddressScope = 0 | 1 | 2;
/** Only from the same machine. */
export const SCOPE_MACHINE: AddressScope = 0;
/** From the same private network. */
export const SCOPE_PRIVATE: AddressScope = 1;
/** From everywhere. */
export const SCOPE_PUBLIC: AddressScope = 2;

export interface PeerAddress {
  readonly id: PeerId;
  readonly address: Multiaddr;
}

const HOSTS: ReadonlySet<string> = new Set(['ip4', 'ip6', 'dns', 'dns4', 'dns6']);
/** Stands for a peer where only the rest of an address matters: the id of the key of 32 zero bytes. */
const ANY_PEER = '12D3KooW9pNAk8aiBuGVQtWRdbkLmo5qVL3e2h5UxbN2Nz9ttwiw';
const UNSPECIFIED: ReadonlySet<string> = new Set(['0.0.0.0', '::']);

/** The address with its peer id, or undefined for anything that is not exactly one dialable TCP address of one peer. */
export function parsePeerAddress(input: string | Uint8Array | Multiaddr): PeerAddress | undefined {
  try {
    const address = multiaddr(input);
    const parts = address.getComponents();
    const [host, tcp, p2p] = parts;
    if (parts.length !== 3 || host?.value === undefined || tcp?.value === undefined || p2p?.value === undefined) {
      return undefined;
    }
    if (!HOSTS.has(host.name) || tcp.name !== 'tcp' || p2p.name !== 'p2p') return undefined;
    if (UNSPECIFIED.has(host.value) || host.value === '' || tcp.value === '0') return undefined;
    const id = peerIdFromString(p2p.value);
    // One text and one binary form per address, so that lists can be compared and bounded by bytes.
    const canonical = multiaddr(address.toString());
    if (!canonical.equals(address) || id.toString() !== p2p.value) return undefined;
    if (typeof input === 'string' && canonical.toString() !== input) return undefined;
    return { id, address: canonical };
  } catch {
    return undefined;
  }
}

/** Whether a text is a dialable TCP address in canonical form, without a peer's id. */
export function isPlainAddress(text: string): boolean {
  return !text.includes('/p2p/') && parsePeerAddress(`${text}/p2p/${ANY_PEER}`) !== undefined;
}

/** From where an address can be dialled. Names count as public. */
export function scopeOf(address: Multiaddr): AddressScope {
  if (isLoopback(address)) return SCOPE_MACHINE;
  return isPrivate(address) ? SCOPE_PRIVATE : SCOPE_PUBLIC;
}
