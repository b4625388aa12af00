import type { TrafficKind } from '../trace.ts';
import { FRAME_BYTES, ID_BYTES, TOPIC_BYTES } from './parameters.ts';

/** One published message; all nodes share the object. */
export interface GossipMessage {
  readonly id: string;
  readonly topic: string;
  readonly data: Uint8Array;
}

/** What one node tells another at once. */
export interface Rpc {
  readonly messages?: readonly GossipMessage[];
  readonly subscribe?: readonly string[];
  readonly unsubscribe?: readonly string[];
  readonly ihave?: readonly { readonly topic: string; readonly ids: readonly string[] }[];
  readonly iwant?: readonly string[];
  readonly idontwant?: readonly string[];
  readonly graft?: readonly string[];
  readonly prune?: readonly string[];
}

/** Bytes of a message on the wire. */
export function messageBytes({ data }: GossipMessage): number {
  return data.length + TOPIC_BYTES + FRAME_BYTES;
}

/** Bytes of everything but the messages. */
export function controlBytes(rpc: Rpc): number {
  const topics = [rpc.subscribe, rpc.unsubscribe, rpc.graft, rpc.prune].reduce(
    (count, list) => count + (list?.length ?? 0),
    rpc.ihave?.length ?? 0,
  );
  let ids = (rpc.iwant?.length ?? 0) + (rpc.idontwant?.length ?? 0);
  for (const { ids: offered } of rpc.ihave ?? []) ids += offered.length;
  return topics * (TOPIC_BYTES + FRAME_BYTES) + ids * ID_BYTES;
}

/** What a message on a topic counts as. */
export function kindOfTopic(topic: string): TrafficKind {
  if (topic.endsWith('/heads')) return 'heads';
  return topic.endsWith('/seals') ? 'seals' : 'updates';
}
