/**
 * How related updates are, and which of them a community accepts.
 *
 * - products, counts, similarity, pair: exact integers of two payloads; cosine, Pearson and Euclidean from them
 * - fixed, state: exact fixed-point inner products, and their running sum Z over the accepted updates
 * - dense: the same figures for uncompressed task vectors, to look at
 * - policy, admission, gates: the limits, and the decision over the canonical order, with reasons
 * - explain: a decision in words
 */
export * from './admission.ts';
export { countPairs, countPairsOf, type PairCounts, type UpdateSource } from './counts.ts';
export * from './dense.ts';
export * from './errors.ts';
export * from './explain.ts';
export { FIXED_ONE, fixedScale, meanKinship, pairFixed } from './fixed.ts';
export { GATES, type GateName, type GateResult, type Verdict } from './gates.ts';
export * from './pair.ts';
export * from './policy.ts';
export { countTensors, type TensorCounts } from './products.ts';
export { RunningMedian } from './running-median.ts';
export { meanSimilarity, type Similarity, similarity } from './similarity.ts';
export { KinshipState, MAX_KINSHIP_UPDATES } from './state.ts';
