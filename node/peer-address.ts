import { parsePeerAddress } from '../protocols/index.ts';
import { NodeError } from './errors.ts';

/** A peer's address as somebody typed it. @throws NodeError `USAGE` */
export function peerFromText(text: string): { readonly id: string; readonly address: string } {
  const parsed = parsePeerAddress(text);
  if (parsed === undefined) {
    throw new NodeError('USAGE', `${text} is not a peer's address: it ends in /tcp/PORT/p2p/ID`, { address: text });
  }
  return { id: parsed.id.toString(), address: parsed.address.toString() };
}
