import { isPlainAddress, parsePeerAddress } from '../protocols/index.ts';
import { NodeError } from './errors.ts';

/** A peer's address as somebody typed it. @throws NodeError `USAGE` */
export function peerFromText(text: string): { readonly id: string; readonly address: string } {
  const parsed = parsePeerAddress(text);
  if (parsed === undefined) {
    throw new NodeError('USAGE', `${text} is not a peer's address: it ends in /tcp/PORT/p2p/ID`, { address: text });
  }
  return { id: parsed.id.toString(), address: parsed.address.toString() };
}

/** An address to be told to others, as somebody typed it: a host and a port, without a peer id. @throws NodeError `USAGE` */
export function announcedFromText(text: string): string {
  if (!isPlainAddress(text)) {
    const form = 'write /ip4/ADDRESS/tcp/PORT or /dns/NAME/tcp/PORT, as others reach it';
    throw new NodeError('USAGE', `${text} is no address that others can dial: ${form}`, { address: text });
  }
  return text;
}
