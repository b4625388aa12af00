import { join } from 'node:path';
import type { BenchmarkContext } from '../benchmark.ts';
import type { Findings, Group } from '../groups.ts';
import { median } from '../rounds.ts';
import { joinHome, makeCommunity, writeModel } from './community.ts';
import { type Daemon, decided, startDaemon, until, upToDate } from './daemon.ts';

const NODES = 10;
const CONTRIBUTIONS = 10;
/** Deviation of a fine-tune's change by that of the base. */
const STRENGTH = 0.1;

/** From `contribute` on one node until every node has decided. Real daemons that share this machine's cores. */
export const decidedGroup: Group = { bars: [], run };

async function run(context: BenchmarkContext, { tables, notes }: Findings): Promise<void> {
  const { quick, workspace, signal, say } = context;
  const directory = join(workspace.scratch, 'decided');
  const community = await makeCommunity(directory);
  const [nodes, contributions] = quick ? [2, 2] : [NODES, CONTRIBUTIONS];
  say(`${nodes} daemons`);
  const daemons: Daemon[] = [];
  try {
    for (let i = 0; i < nodes; i++) {
      const home = await joinHome(community, join(directory, `node-${i}`), signal);
      // All join through the first; the others they learn from it.
      const peers = daemons.slice(0, 1).flatMap(({ ready }) => ready.addresses.slice(0, 1));
      daemons.push(await startDaemon(context, home, { peers }));
    }
    const all = (holds: Parameters<typeof until>[1]) => Promise.all(daemons.map((one) => until(one, holds, signal)));
    await all(({ peers }) => peers > 0);
    const own: number[] = [];
    const everywhere: number[] = [];
    for (let i = 0; i < contributions; i++) {
      const finetune = join(directory, `finetune-${i}.safetensors`);
      await writeModel(finetune, { seed: i, strength: STRENGTH });
      say(`contribution ${i + 1} of ${contributions}`);
      const started = performance.now();
      const elapsed = () => (performance.now() - started) / 1000;
      const seen = all((status) => status.log.held === i + 1 && decided(status)).then(elapsed);
      await daemons[i % nodes]!.api.contribute({ finetune, title: `fine-tune ${i}` });
      own.push(elapsed());
      everywhere.push(await seen);
      // The next one does not wait for folds.
      const states = await all((status) => status.log.held === i + 1 && upToDate(status));
      if (new Set(states.map(({ recipe }) => recipe.id)).size !== 1)
        throw new Error('the nodes have different recipes');
    }
    const row = (what: string, seconds: readonly number[]) => ({
      what,
      'median s': median(seconds),
      'least s': Math.min(...seconds),
      'most s': Math.max(...seconds),
    });
    const after = everywhere.map((seconds, i) => seconds - own[i]!);
    tables.push({
      title: `${nodes} daemons, ${contributions} contributions, each by another node`,
      rows: [
        row('contribute returns', own),
        row('decided everywhere', everywhere),
        row('decided everywhere after contribute returned', after),
      ],
    });
    notes.push(
      `decided everywhere: the clock starts when contribute is called, so encoding, the own admission and the write are in it; every node is asked for its status again and again (which costs them some time), and all share this machine's cores`,
    );
  } finally {
    await Promise.all(daemons.map((daemon) => daemon.stop()));
  }
}
