import type { FloatSource } from '../table.ts';
import type { TensorTable } from '../types.ts';
import type { TensorPair } from './tensor-input.ts';

/** A tensor of the table that may change, and where its elements lie. */
export interface DensePair {
  readonly index: number;
  readonly pair: TensorPair;
}

/**
 * The tensors that are compared, in table order.
 *
 * @param names - per position of the table the fine-tune's tensor, or null where it is unchanged (`alignTensors`)
 */
export function pairsOf(
  base: FloatSource,
  finetune: Pick<FloatSource, 'place'>,
  table: TensorTable,
  names: readonly (string | null)[],
): DensePair[] {
  return table.flatMap(({ name, elements }, index) => {
    const other = names[index];
    if (other === null || other === undefined) return [];
    return [{ index, pair: { base: base.place(name), tune: finetune.place(other), elements } }];
  });
}
