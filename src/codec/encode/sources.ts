import type { RunOptions } from '../../run-options.ts';
import type { LoraAdapter } from '../../tensors/index.ts';
import { type AlignPolicy, alignTensors, type TensorDifference } from '../align.ts';
import type { FloatSource } from '../table.ts';
import type { TensorTable } from '../types.ts';
import { type FactorPair, factorPairsOf } from './low-rank.ts';
import { type DensePair, pairsOf } from './pairs.ts';

/** What a task vector is taken from. */
export interface SourceInput {
  readonly base: FloatSource;
  /** A whole model, or a LoRA adapter of the base. */
  readonly finetune: FloatSource | LoraAdapter;
  readonly table: TensorTable;
  /** What may differ between the names and shapes of base and model. Default: nothing. An adapter was opened with its own. */
  readonly align?: AlignPolicy | undefined;
}

/** Where the elements lie: of a model, pairs of tensors; of an adapter, factors and the tensors that it has whole. */
export interface Sources {
  readonly pairs: readonly DensePair[];
  readonly factorPairs: readonly FactorPair[];
  readonly adapter: LoraAdapter | null;
  /** What differs and was accepted. */
  readonly notes: readonly TensorDifference[];
}

/** @throws CodecError TENSOR_MISMATCH; whatever reading throws */
export async function sourcesOf({ base, finetune, table, align }: SourceInput, options: RunOptions): Promise<Sources> {
  if (!('lowRank' in finetune)) {
    const { names, notes } = await alignTensors(base, finetune, table, align, options);
    return { pairs: pairsOf(base, finetune, table, names), factorPairs: [], adapter: null, notes };
  }
  // The adapter was compared with the base when it was opened; the base must fit the table too.
  await alignTensors(base, base, table, {}, options);
  const names = table.map(({ name }) => finetune.full.get(name) ?? null);
  return {
    pairs: pairsOf(base, finetune.checkpoint, table, names),
    factorPairs: factorPairsOf(finetune, table),
    adapter: finetune,
    notes: finetune.notes,
  };
}

/** The tensors that are compared with the base's, at most. */
export function comparedTensors({ finetune, table }: Pick<SourceInput, 'finetune' | 'table'>): TensorTable {
  return 'lowRank' in finetune ? table.filter(({ name }) => finetune.full.has(name)) : table;
}
