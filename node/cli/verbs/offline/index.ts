/**
 * The verbs that need no network and no home: the library on files.
 *
 * - `encode`, `decode`, `inspect`, `kinship`, `merge`, `evaluate`: one file each
 * - `kinship-compare`, `recognise`: what those verbs find out; `files`, `out`: inputs and outputs
 */
import type { Command } from 'commander';
import type { Register } from '../../context.ts';
import { decodeVerb } from './decode.ts';
import { encodeVerb } from './encode.ts';
import { evaluateVerb } from './evaluate.ts';
import { inspectVerb } from './inspect.ts';
import { kinshipVerb } from './kinship.ts';
import { mergeVerb } from './merge.ts';

export const offlineVerbs: readonly ((program: Command, register: Register) => void)[] = [
  encodeVerb,
  decodeVerb,
  inspectVerb,
  kinshipVerb,
  mergeVerb,
  evaluateVerb,
];
