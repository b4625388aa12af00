/**
 * The verbs that need no network and no home: the library on files.
 *
 * - `encode`, `decode`, `inspect`, `kinship`, `merge`, `evaluate`: one file each
 * - `kinship-compare`, `recognise` with `recognise-update`, `recognise-adapter` and `recognise-document`: what those
 *   verbs find out; `dense-deltas`: an update decoded ahead of its use
 * - `files`, `out`: their inputs and outputs
 */
import type { VerbGroup } from '../../context.ts';

export const offlineVerbs: readonly VerbGroup[] = [
  { words: ['encode'], load: async () => (await import('./encode.ts')).encodeVerb },
  { words: ['decode'], load: async () => (await import('./decode.ts')).decodeVerb },
  { words: ['inspect'], load: async () => (await import('./inspect.ts')).inspectVerb },
  { words: ['kinship'], load: async () => (await import('./kinship.ts')).kinshipVerb },
  { words: ['merge'], load: async () => (await import('./merge.ts')).mergeVerb },
  { words: ['evaluate'], load: async () => (await import('./evaluate.ts')).evaluateVerb },
];
