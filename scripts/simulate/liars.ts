import type { PeerId } from '@libp2p/interface';
import { encodeUpdate, MAX_INLINE_PAYLOAD_BYTES, updatesTopic } from '../../protocols/index.ts';
import { encodeSigned, manifestOf, type SignedUpdate, signRecord } from '../../src/log/index.ts';
import { SimNode } from './node.ts';
import { payloadBytes } from './payloads.ts';
import type { Place } from './world.ts';

/** Share of its answers that a forger changes. */
const FORGED = 0.5;

/** A node that does what it should not. */
abstract class Liar extends SimNode {
  override get honest(): boolean {
    return false;
  }
}

/** Announces updates, and gives nobody their payloads. */
export class Withholder extends Liar {
  override async contribute(payload: Uint8Array, title: string): Promise<SignedUpdate> {
    const signed = await this.append(payload, title);
    const { payload: id } = signed.record;
    await this.disk.blobs.delete(id);
    await this.disk.objects.delete(id);
    await this.network.publish(signed, null);
    return signed;
  }
}

/** Changes a byte of what it answers: digests, records, blocks. */
export class Forger extends Liar {
  protected override place(): Place {
    return {
      ...super.place(),
      tamper: (bytes) => {
        if (Math.random() >= FORGED) return bytes;
        const forged = bytes.slice();
        const at = Math.floor(Math.random() * forged.length);
        forged[at] = forged[at]! ^ (1 + Math.floor(Math.random() * 255));
        return forged;
      },
    };
  }
}

/** Signs two updates with one `seq` and sends each to one half of its peers; then further ones to all. */
export class Equivocator extends Liar {
  #first: SignedUpdate | undefined;

  override async contribute(payload: Uint8Array, title: string): Promise<SignedUpdate> {
    if (this.#first === undefined) {
      this.#first = await this.append(payload, title);
      await this.#tell(this.#first, payload, isOdd);
      await this.#forge(this.#first, payloadBytes(`${title} again`, payload.length), (peer) => !isOdd(peer));
      return this.#first;
    }
    return this.#forge(this.#first, payload, () => true);
  }

  /** Another record in the place of one that is signed already. */
  async #forge(first: SignedUpdate, payload: Uint8Array, only: (peer: PeerId) => boolean): Promise<SignedUpdate> {
    const { id } = await manifestOf(payload);
    const signed = signRecord({ ...first.record, payload: id }, this.author);
    await this.#tell(signed, payload, only);
    return signed;
  }

  async #tell(signed: SignedUpdate, payload: Uint8Array, only: (peer: PeerId) => boolean): Promise<void> {
    const topic = updatesTopic(this.parts.community.charterId);
    const inline = payload.length <= MAX_INLINE_PAYLOAD_BYTES ? payload : null;
    await this.host.gossip.publish(topic, encodeUpdate({ record: encodeSigned(signed), payload: inline }), only);
  }
}

function isOdd(peer: PeerId): boolean {
  return peer.toString().charCodeAt(20) % 2 === 1;
}

/** The kinds of liars, in the order in which a run takes them. */
export const LIARS = [Withholder, Forger, Equivocator] as const;
