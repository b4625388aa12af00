/**
 * The gossip topics of a community: `/kinmerge/1/<community id>/updates` carries signed records with small payloads
 * inside, `/kinmerge/1/<community id>/heads` the nodes' signed heads, `/kinmerge/1/<community id>/seals` signed seals.
 *
 * - `constants.ts`, `schema.ts`: limits, messages, topic names
 * - `gossip-options.ts`: how kinmerge runs gossipsub (message ids, scores, bounds)
 * - `topics.ts`: validators, delivery and publishing over a gossipsub service
 */
export { MAX_RPC_BYTES } from './constants.ts';
export { gossipOptions, messageId, SCORE_THRESHOLDS, TOPIC_SCORE } from './gossip-options.ts';
export { decodeUpdate, encodeUpdate, headsTopic, sealsTopic, type UpdateMessage, updatesTopic } from './schema.ts';
export { createTopics, type Published, peerScore, type Topics, type TopicsInit, type Verdict } from './topics.ts';
