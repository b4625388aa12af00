import { join } from 'node:path';
import type { BarDefinition } from '../bars.ts';
import type { BenchmarkContext } from '../benchmark.ts';
import { runCli } from '../cli.ts';
import type { Findings, Group } from '../groups.ts';
import { pairIn } from '../pair.ts';
import { writeLlamaAdapter } from '../synthetic/adapter.ts';
import { LLAMA_1B, LLAMA_TINY } from '../synthetic/model.ts';
import { llamaModel } from './llama.ts';

const RANK = 16;
const F16_BYTES = 2;

const bars: readonly BarDefinition[] = [
  {
    id: 'codec.lora.size',
    what: `a LoRA of rank ${RANK} on every matrix of a Llama, default settings: payload / the adapter as F16`,
    unit: 'ratio',
    target: 1 / 8,
    sense: 'at most',
    numeratorIs: 'bytes of the whole payload',
    denominatorIs: 'bytes of the adapter at 2 per parameter',
  },
];

/** The size of an adapter's update, through `kinmerge encode` with nothing chosen. */
export const loraGroup: Group = { bars, run };

async function run(context: BenchmarkContext, { outcomes, tables }: Findings): Promise<void> {
  const { quick, workspace, signal, say } = context;
  const { base } = await pairIn(context, llamaModel(quick));
  const adapter = join(workspace.scratch, 'adapter');
  const parameters = await writeLlamaAdapter(adapter, { shape: quick ? LLAMA_TINY : LLAMA_1B, rank: RANK }, { signal });
  say(`encoding an adapter of ${parameters} parameters`);
  const out = join(workspace.scratch, 'adapter.update');
  const encoded = await runCli<{ bytes: number }>(['encode', adapter, '--base', base, '--out', out], { signal });
  const f16 = F16_BYTES * parameters;
  outcomes.set('codec.lora.size', { numerator: encoded.bytes, denominator: f16 });
  tables.push({
    title: `a LoRA of rank ${RANK}`,
    rows: [{ parameters, 'payload bytes': encoded.bytes, 'f16 bytes': f16, 'f16/payload': f16 / encoded.bytes }],
  });
}
