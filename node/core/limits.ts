/**
 * States of the fold kept at most, unless the configuration says otherwise: each is as large as the model. The newest, the one
 * before it, that of the last seal, and one further back.
 */
export const DEFAULT_FOLD_STATES = 4;
/** Fewest: the newest, the one before it, and that of the last seal. */
export const MIN_FOLD_STATES = 3;
/** Smallest cap of a home, in bytes: below it there is no room for a log and its payloads. One MiB. */
export const MIN_DISK_LIMIT = 2 ** 20;
