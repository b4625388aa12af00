/** A small real community on disk: a base, its charter, and homes that joined it. */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { createCommunity } from '../../../node/community/create.ts';
import { joinCommunity } from '../../../node/community/join.ts';
import { homePaths } from '../../../node/home/paths.ts';
import { createSafetensors } from '../../../src/tensors/index.ts';
import { RandomStream } from '../synthetic/random.ts';

/** The daemon's ports and the benchmark never leave the machine. */
const LOOPBACK = '/ip4/127.0.0.1/tcp/0';

/** Small enough that ten nodes fold it at once; large enough that fine-tunes of it are told apart. */
const TENSORS = [
  { name: 'block.0.weight', shape: [64, 96] },
  { name: 'block.1.weight', shape: [96, 64] },
  { name: 'head.bias', shape: [64] },
] as const;
const BASE_DEVIATION = 0.1;

/** Paths of a base and of the charter of its community, which anybody may contribute to. */
export interface BenchCommunity {
  readonly base: string;
  readonly charter: string;
}

export async function makeCommunity(directory: string): Promise<BenchCommunity> {
  await mkdir(directory, { recursive: true });
  const base = join(directory, 'base.safetensors');
  await writeModel(base, { seed: 0, strength: 0 });
  const charter = join(directory, 'charter.cbor');
  await createCommunity(
    {
      base,
      name: 'bench',
      out: charter,
      open: true,
      merge: { method: 'opcm', variant: 'ref', alpha: 0.5, scale: 1 },
      limits: {},
      budgets: { updates: 1_000, bytes: 2 ** 40 },
    },
    { home: homePaths(join(directory, 'owner')) },
  );
  return { base, charter };
}

/** Makes `root` a home of the community, with keys of its own. */
export async function joinHome({ base, charter }: BenchCommunity, root: string, signal: AbortSignal): Promise<string> {
  const home = homePaths(root);
  await joinCommunity({ target: charter, base, peers: [], listen: [LOOPBACK], announce: [] }, { home, signal });
  return root;
}

/**
 * Writes a model of the community's shapes: the base, and a change of the given strength (standard deviations of the
 * change by those of the base), half of which all seeds have in common, so that fine-tunes are kin.
 */
export async function writeModel(path: string, { seed, strength }: { seed: number; strength: number }): Promise<void> {
  const [base, common, own] = ['base', 'common', `own ${seed}`].map((name) => new RandomStream(name));
  const writer = await createSafetensors(
    path,
    TENSORS.map(({ name, shape }) => ({ name, dtype: 'F32' as const, shape: [...shape] })),
  );
  for (const { name, shape } of TENSORS) {
    const values = new Float32Array(shape.reduce((product: number, side) => product * side, 1));
    for (let i = 0; i < values.length; i++) {
      const change = (common!.normal() + own!.normal()) * Math.SQRT1_2;
      values[i] = BASE_DEVIATION * (base!.normal() + strength * change);
    }
    await writer.write(name, new Uint8Array(values.buffer));
  }
  await writer.commit();
}
