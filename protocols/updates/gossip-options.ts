/** How kinmerge runs gossipsub. The options are those of `@libp2p/gossipsub` 17; the wire is plain gossipsub 1.1/1.2. */
import { createHash } from 'node:crypto';
import { type GossipsubOpts, type Message, StrictNoSign } from '@libp2p/gossipsub';
import type { PeerScoreParams, PeerScoreThresholds, TopicScoreParams } from '@libp2p/gossipsub/score';
import type { CID } from 'multiformats/cid';
import { MAX_INLINE_PAYLOAD_BYTES } from '../limits.ts';
import {
  IDONTWANT_MIN_BYTES,
  MAX_OUTBOUND_BUFFER_BYTES,
  MAX_RPC_BYTES,
  MAX_TOPIC_BYTES_PER_PEER,
} from './constants.ts';
import { headsTopic, sealsTopic, updatesTopic } from './schema.ts';

/**
 * Id of a gossip message: sha256(length of topic ‖ topic ‖ all data). Over the record alone, a copy sent ahead with a
 * wrong payload would suppress the good message.
 */
export function messageId(message: Pick<Message, 'topic' | 'data'>): Uint8Array {
  const topic = Buffer.from(message.topic, 'utf8');
  const length = Buffer.alloc(4);
  length.writeUInt32BE(topic.length);
  return new Uint8Array(createHash('sha256').update(length).update(topic).update(message.data).digest());
}

/** One invalid message costs more than all that good behaviour can earn; three end the conversation. */
const INVALID_MESSAGE_WEIGHT = -20;
/** Per second: half of the penalty is left after ten minutes. */
const INVALID_MESSAGE_DECAY = 0.5 ** (1 / 600);

/** Weights of one topic. Updates are rare, so silence in the mesh is no fault: those penalties are off. */
export const TOPIC_SCORE: TopicScoreParams = {
  topicWeight: 1,
  // At most +1 after an hour in the mesh.
  timeInMeshWeight: 1 / 3_600,
  timeInMeshQuantum: 1_000,
  timeInMeshCap: 3_600,
  // At most +2 for bringing new messages first.
  firstMessageDeliveriesWeight: 0.5,
  firstMessageDeliveriesDecay: 0.5 ** (1 / 600),
  firstMessageDeliveriesCap: 4,
  meshMessageDeliveriesWeight: 0,
  meshMessageDeliveriesDecay: 0.5,
  meshMessageDeliveriesCap: 1,
  meshMessageDeliveriesThreshold: 1,
  meshMessageDeliveriesWindow: 10,
  meshMessageDeliveriesActivation: 5_000,
  meshFailurePenaltyWeight: 0,
  meshFailurePenaltyDecay: 0.5,
  invalidMessageDeliveriesWeight: INVALID_MESSAGE_WEIGHT,
  invalidMessageDeliveriesDecay: INVALID_MESSAGE_DECAY,
};

/** Peers behind one address before that alone counts against them: a laboratory or a household is no attack. */
export const PEERS_PER_ADDRESS = 32;

/** One invalid message stops gossip to the peer, two stop publishing to it, three close the ears. */
export const SCORE_THRESHOLDS: PeerScoreThresholds = {
  gossipThreshold: -10,
  publishThreshold: -60,
  graylistThreshold: -120,
  acceptPXThreshold: 10,
  opportunisticGraftThreshold: 1,
};

function scoreParams(topics: readonly string[]): Partial<PeerScoreParams> {
  return {
    topics: Object.fromEntries(topics.map((topic) => [topic, TOPIC_SCORE])),
    topicScoreCap: 10,
    appSpecificWeight: 1,
    IPColocationFactorWeight: -5,
    IPColocationFactorThreshold: PEERS_PER_ADDRESS,
    // Nodes of one machine (tests, demos, several communities) share the loopback addresses by nature.
    IPColocationFactorWhitelist: new Set(['127.0.0.1', '::1', '::ffff:127.0.0.1', '::ffff:7f00:1']),
    behaviourPenaltyWeight: -10,
    behaviourPenaltyThreshold: 6,
    behaviourPenaltyDecay: 0.2,
    decayInterval: 1_000,
    decayToZero: 0.1,
    retainScore: 3_600_000,
  };
}

/** Options for `gossipsub()` of a node that belongs to these communities. */
export function gossipOptions(communities: readonly CID[]): Partial<GossipsubOpts> {
  const topics = communities.flatMap((community) => [
    updatesTopic(community),
    headsTopic(community),
    sealsTopic(community),
  ]);
  return {
    allowedTopics: topics,
    // Floodsub has no scores: a peer that speaks only that could not be held to anything.
    fallbackToFloodsub: false,
    // The mesh spreads a message at a sixth of the upload, and sync covers for a mesh that fails.
    floodPublish: false,
    emitSelf: false,
    doPX: false,
    // Records and heads carry their own signatures. A second one would name the node that published a record, which
    // the author may not want to be known for, and would make equal messages differ.
    globalSignaturePolicy: StrictNoSign,
    msgIdFn: messageId,
    // A node alone keeps its update in its log; sync hands it on when somebody connects.
    allowPublishToZeroTopicPeers: true,
    ignoreDuplicatePublishError: true,
    maxInboundDataLength: MAX_RPC_BYTES,
    maxOutboundBufferSize: MAX_OUTBOUND_BUFFER_BYTES,
    maxTopicBytesPerPeer: MAX_TOPIC_BYTES_PER_PEER,
    idontwantMinDataSize: Math.min(IDONTWANT_MIN_BYTES, MAX_INLINE_PAYLOAD_BYTES),
    decodeRpcLimits: {
      maxSubscriptions: 64,
      maxMessages: 1_024,
      maxIhaveMessageIDs: 5_000,
      maxIwantMessageIDs: 5_000,
      maxIdontwantMessageIDs: 512,
      maxControlMessages: 256,
      maxPeerInfos: 16,
    },
    scoreParams: scoreParams(topics),
    scoreThresholds: SCORE_THRESHOLDS,
  };
}
