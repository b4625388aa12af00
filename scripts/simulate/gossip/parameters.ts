/** Gossipsub as `@libp2p/gossipsub` runs it with this project's options: its defaults, by the names of its source. */

/** Mesh peers per topic: wanted, fewest, most. */
export const D = 6;
export const D_LO = 4;
export const D_HI = 12;
/** Mesh peers that this node dialled, at least. */
export const D_OUT = 2;
/** Best-scored mesh peers that pruning keeps. */
export const D_SCORE = 4;
/** Peers outside the mesh that are told of messages with every heartbeat: at least, and as a share of them all. */
export const D_LAZY = 6;
export const GOSSIP_FACTOR = 0.25;
export const HEARTBEAT_MS = 1_000;
export const HEARTBEAT_FIRST_MS = 100;
/** Heartbeats for which a message can be asked for, and those of them in which it is offered. */
export const HISTORY_LENGTH = 5;
export const HISTORY_GOSSIP = 3;
/** Times that a peer gets one message for asking. */
export const RETRANSMISSIONS = 3;
export const SEEN_TTL_MS = 120_000;
export const PRUNE_BACKOFF_MS = 60_000;
/** Heartbeats between two looks whether the mesh could be better, and peers added then. */
export const OPPORTUNISTIC_TICKS = 60;
export const OPPORTUNISTIC_PEERS = 2;

/**
 * Mean time that a node takes to judge a message before it passes it on, in milliseconds. Calibrated: an IDONTWANT that
 * arrives meanwhile saves a copy, to ten real nodes on loopback one in seven of a large message.
 */
export const JUDGING_MS = 0.35;

/** Bytes of a message id, of a topic's name and of the framing around a part of an RPC: the wire is protobuf. */
export const ID_BYTES = 34;
export const TOPIC_BYTES = 85;
export const FRAME_BYTES = 6;
