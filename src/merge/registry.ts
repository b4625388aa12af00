/** Every merge method by its name in a configuration. */
import { average } from './average.ts';
import type { MergeMethod } from './method.ts';
import { opcm } from './opcm-method.ts';

export const MERGE_METHODS: Readonly<Record<string, MergeMethod>> = { opcm, average };
