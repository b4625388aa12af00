/** docs/log-format.md: Recipe. */

import * as dagCbor from '@ipld/dag-cbor';
import type { Charter } from '../../src/log/index.ts';
import type { Before } from './decisions.ts';
import { cidOf, type Id, idOfBytes } from './documents.ts';

/** What is accepted and not taken out, in canonical order. */
export function recipeList({ decided, out }: Before): Id[] {
  return decided
    .filter(({ record, gate }) => record.kind === 'update' && gate === null && !out.has(record.id))
    .map(({ record }) => record.id);
}

export function recipeIdOf(charter: Charter, charterId: Id, updates: readonly Id[]): Id {
  const { method, variant, alpha, scale } = charter.merge;
  return idOfBytes(
    dagCbor.encode({
      version: 1,
      charter: cidOf(charterId),
      algorithm: 'opcm/1',
      updates: updates.map(cidOf),
      merge: { method, variant, alpha, scale },
    }),
  );
}
