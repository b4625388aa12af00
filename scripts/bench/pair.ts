import type { BenchmarkContext } from './benchmark.ts';
import { generatePair, type SyntheticPair } from './synthetic/generate.ts';
import type { SyntheticModel } from './synthetic/model.ts';

/** The generated pair in the workspace; made now, or kept there by an earlier run. */
export async function pairIn(
  { workspace, signal, say }: BenchmarkContext,
  model: SyntheticModel,
): Promise<SyntheticPair> {
  say(`checkpoints of ${model.name}`);
  const pair = await generatePair(model, workspace.data, { signal });
  if (pair.made !== undefined) workspace.made(pair.made);
  return pair;
}

/** How the pair came about, for the report. */
export function describePair(model: SyntheticModel, pair: SyntheticPair): string {
  const { rms, tensorSpread, rowSpread, columnSpread } = model.law;
  const spreads = `log-normal scales of tensor, row and column (deviations ${tensorSpread}, ${rowSpread}, ${columnSpread})`;
  const share = (100 * pair.unchanged).toFixed(1);
  return `${model.name}: ${pair.elements} BF16 parameters; base N(0, 0.02), norms N(1, 0.1); task vector Student t with 4 degrees of freedom times ${spreads}, rms ${rms}; after rounding to BF16 ${share} % of its entries are zero`;
}
