/** Histories whose payloads have bytes, and what of a real node is to be the same at all of them. */

import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { homePaths } from '../../node/home/paths.ts';
import { encodeTernarySync, type TensorTable, ternaryFromSigns } from '../../src/codec/index.ts';
import { BLOCK_BYTES, charterTable, encodeManifest, encodeRecipe } from '../../src/log/index.ts';
import { createSafetensors } from '../../src/tensors/index.ts';
import type { TestNode } from '../fault/support.ts';
import { joinHome, type Pond, scratch } from '../unit/node/support.ts';
import { cidOf, idOfBytes, sha256 } from './documents.ts';
import { ENTRIES, type Synthetic } from './generate/payloads.ts';
import { type Size, write } from './generate/writers.ts';
import type { Writing } from './generate/writing.ts';
import type { Outcome } from './index.ts';

const TABLE: TensorTable = [{ name: 'a.weight', shape: [4, 4], elements: ENTRIES }];

/** The history of a seed with payloads that a node can decode and fold. */
export function writeReal(seed: number, size: Size): Writing {
  return write(seed, size, (payload) => {
    const content = contentOf(payload);
    const manifest = { size: content.length, blockSize: BLOCK_BYTES, blocks: [Buffer.from(sha256(content), 'hex')] };
    return { ...payload, content, bytes: content.length, id: idOfBytes(encodeManifest(manifest)) };
  });
}

function contentOf({ id, signs, scale }: Synthetic): Uint8Array {
  if (signs === null) return new TextEncoder().encode(`no payload ${id}`);
  const tensor = ternaryFromSigns(0, signs, scale);
  return encodeTernarySync(TABLE, tensor === null ? [] : [tensor]);
}

/**
 * Whether an author that signed two records with one number fits its budget over all branches. Nodes need not keep what goes
 * beyond it, so that they would not hold the same.
 */
export function keepsToBudgets({ cast, records, payloads }: Writing): boolean {
  const authors = new Set(records.map(({ rec }) => rec.author));
  return [...authors].every((author) => {
    const own = records.map(({ rec }) => rec).filter((rec) => rec.author === author);
    const forked = new Set(own.map(({ seq }) => seq)).size < own.length;
    const bytes = own.reduce((sum, rec) => sum + (rec.kind === 'update' ? payloads.get(rec.payload)!.bytes : 0), 0);
    const { budgets } = cast.charter;
    return !forked || (own.length < budgets.updates && bytes <= budgets.bytes);
  });
}

/** The community of a history on disk, with a base that the updates apply to. */
export async function pondOf({ cast }: Writing): Promise<Pond> {
  const directory = await scratch();
  const base = join(directory, 'base.safetensors');
  const writer = await createSafetensors(base, [{ name: 'a.weight', dtype: 'F32', shape: [4, 4] }]);
  const values = Float32Array.from({ length: ENTRIES }, (_, i) => Math.sin(i + 1));
  await writer.write('a.weight', new Uint8Array(values.buffer));
  await writer.commit();
  const { charter, charterBytes } = cast;
  const home = homePaths(join(directory, 'first'));
  const pond = {
    directory,
    base,
    charter,
    charterId: cidOf(cast.charterId),
    charterBytes,
    table: charterTable(charter),
    home,
  };
  await joinHome(pond, home);
  return pond;
}

/** Every file of the newest state of the fold and of the checkpoint, by name. */
export async function foldedBytes(
  node: TestNode,
  { cast }: Writing,
  outcome: Outcome,
): Promise<Record<string, string>> {
  const { home } = node;
  const checkpoint = await filesOf(join(home.checkpoints, cidOf(outcome.recipeId).toString()));
  if (outcome.recipe.length === 0) return checkpoint;
  return { ...checkpoint, ...(await filesOf(join(home.fold, stateName(cast, outcome)))) };
}

/** As the fold names its states: a hash chain over the rule and the updates. */
function stateName({ charter, charterId }: Writing['cast'], { recipe }: Outcome): string {
  const rule = {
    version: 1,
    charter: cidOf(charterId),
    algorithm: 'opcm/1',
    updates: [],
    merge: charter.merge,
  } as const;
  let name = createHash('sha256').update(encodeRecipe(rule)).digest();
  for (const id of recipe) name = createHash('sha256').update(name).update(cidOf(id).toString()).digest();
  return name.toString('hex');
}

async function filesOf(directory: string): Promise<Record<string, string>> {
  const files: Record<string, string> = {};
  for (const entry of await readdir(directory, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    files[entry.name] = sha256(await readFile(join(entry.parentPath, entry.name)));
  }
  return files;
}
