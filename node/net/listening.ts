import { multiaddr } from '@multiformats/multiaddr';
import { NodeError } from '../errors.ts';

/** What the system says when an address cannot be listened on, and what to do then. */
const REASONS: readonly (readonly [RegExp, string])[] = [
  [/EADDRINUSE/, 'is in use by another program: stop it, or choose another port (tcp/0 takes any free one)'],
  [/EACCES/, 'is a port that this user may not use: choose one above 1023'],
  [/EADDRNOTAVAIL|ENOTFOUND/, 'is not an address of this machine: use one of its own, or /ip4/0.0.0.0'],
];
const NOT_TCP = 'is not an address to listen on: write /ip4/ADDRESS/tcp/PORT';

/**
 * Runs what listens, with errors that name the address.
 *
 * @throws NodeError `LISTEN_FAILED`; whatever else `start` throws
 */
export async function listening<T>(addresses: readonly string[], start: () => Promise<T>): Promise<T> {
  for (const address of addresses) if (!isTcp(address)) throw failed(address, NOT_TCP);
  try {
    return await start();
  } catch (error) {
    if (!(error instanceof Error) || error.name !== 'UnsupportedListenAddressesError') throw error;
    const address = addresses.find((text) => error.message.includes(`${text}:`)) ?? addresses.join(', ');
    const [, reason] = REASONS.find(([pattern]) => pattern.test(error.message)) ?? [undefined, NOT_TCP];
    throw failed(address, reason, error);
  }
}

function isTcp(text: string): boolean {
  try {
    const [host, tcp, more] = multiaddr(text).getComponents();
    return host?.value !== undefined && tcp?.name === 'tcp' && more === undefined;
  } catch {
    return false;
  }
}

function failed(address: string, reason: string, cause?: Error): NodeError {
  const options = cause === undefined ? {} : { cause };
  return new NodeError('LISTEN_FAILED', `this node cannot listen: ${address} ${reason}`, { address }, options);
}
