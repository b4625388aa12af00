import type { BarDefinition } from '../bars.ts';
import type { BenchmarkContext, Cell } from '../benchmark.ts';
import type { Findings, Group } from '../groups.ts';
import { VARIANTS } from './floor.ts';
import { vitBlocks } from './models.ts';
import { foldFirst, removeAll, syntheticUpdates } from './steps.ts';
import { CPU, differences, WEBGPU } from './subject.ts';
import { vision8Updates } from './vision8.ts';

/** Updates that are folded: all experts of vision8, and enough of the block that errors can add up. */
const FULL = { experts: 8, updates: 3, width: 768 };
const QUICK = { experts: 2, updates: 2, width: 32 };

const bars: readonly BarDefinition[] = [
  {
    id: 'merge.webgpu.difference',
    what: 'the merged task vector M by webgpu and by cpu: the largest relative difference of a tensor, vision8 and one block of ViT-B/32, ref and lite',
    unit: 'ratio',
    target: 1e-3,
    sense: 'at most',
    numeratorIs: '|M by webgpu - M by cpu| of that tensor, in units of the denominator',
    denominatorIs: '|M by cpu| of that tensor: 1',
  },
];

/** What the device's float32 products do to the result. */
export const differenceGroup: Group = { bars, run };

async function run(context: BenchmarkContext, { outcomes, tables }: Findings): Promise<void> {
  const { experts, updates: count, width } = context.quick ? QUICK : FULL;
  const rows: Record<string, Cell>[] = [];
  let largest = 0;
  for (const { updates, steps } of [
    { updates: await vision8Updates(context, experts), steps: experts },
    { updates: await syntheticUpdates(context, vitBlocks('vit-block', width, 1), count), steps: count },
  ]) {
    for (const variant of VARIANTS) {
      // Without an adapter this throws before anything else is done, and its message becomes the bar's reason.
      const device = await foldFirst(context, updates, { variant, backend: WEBGPU, keep: [steps] });
      const cpu = await foldFirst(context, updates, { variant, backend: CPU, keep: [steps] });
      const [path, reference] = [device.states.get(steps)!, cpu.states.get(steps)!];
      const found = [...(await differences(path, reference, { signal: context.signal }))];
      const [tensor, most] = found.reduce((a, b) => (b[1] > a[1] ? b : a));
      largest = Math.max(largest, most);
      rows.push({
        model: updates.model.name,
        updates: steps,
        variant,
        'largest difference': most,
        'of tensor': tensor,
        'webgpu s': device.seconds,
        'cpu s': cpu.seconds,
      });
      await removeAll([path, reference]);
    }
    await removeAll(Array.from({ length: steps }, (_, i) => updates.at(i + 1)));
  }
  outcomes.set('merge.webgpu.difference', { numerator: largest, denominator: 1 });
  tables.push({ title: 'merged task vectors, webgpu beside cpu', rows });
}
