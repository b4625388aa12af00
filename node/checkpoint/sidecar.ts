import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { CID } from 'multiformats/cid';
import { z } from 'zod';
import type { Snapshot } from '../../src/history/index.ts';
import type { Recipe } from '../../src/log/index.ts';
import { MERGE_ALGORITHM, parseId, recipeId } from '../../src/log/index.ts';
import { NodeError } from '../errors.ts';

/** The file beside the weights that says what they are made of. */
export const SIDECAR_FILE = 'kinmerge.json';
/** Largest sidecar that is read, in bytes: 2^17 updates and more. */
export const MAX_SIDECAR_BYTES = 32 * 1024 * 1024;

const schema = z.strictObject({
  version: z.literal(1),
  community: z.string(),
  recipe: z.string(),
  algorithm: z.literal(MERGE_ALGORITHM),
  merge: z.strictObject({
    method: z.literal('opcm'),
    variant: z.enum(['ref', 'lite']),
    alpha: z.number(),
    scale: z.number(),
  }),
  /** Accepted updates in the order in which they were folded. */
  updates: z.array(z.string()),
  /** Held records without children when the recipe was made: they and their ancestors are what was decided on. */
  frontier: z.array(z.string()),
  /** The last seal that is applied in it; null while nothing was sealed. */
  seal: z.string().nullable().default(null),
  /** The update that a local fork leaves out; null for a model of the community. */
  without: z.string().nullable().default(null),
});

export interface Sidecar {
  readonly recipe: Recipe;
  readonly recipeId: CID;
  readonly frontier: readonly CID[];
  readonly seal: CID | null;
  readonly without: CID | null;
}

/** A model and, for a local fork, the update that it leaves out. */
export type Pullable = Snapshot & { readonly without?: CID };

export function encodeSidecar(view: Pullable): Uint8Array {
  const { charter, algorithm, merge, updates } = view.recipe;
  const document: z.infer<typeof schema> = {
    version: 1,
    community: charter.toString(),
    recipe: view.recipeId.toString(),
    algorithm,
    merge,
    updates: updates.map(String),
    frontier: view.frontier.map(String),
    seal: view.seal?.id.toString() ?? null,
    without: view.without?.toString() ?? null,
  };
  return Buffer.from(`${JSON.stringify(document, null, 2)}\n`);
}

/** @throws NodeError `VERIFY_FAILED` when it is missing, malformed, or names another recipe than it describes */
export async function readSidecar(directory: string): Promise<Sidecar> {
  const path = join(directory, SIDECAR_FILE);
  let document: z.infer<typeof schema>;
  let sidecar: Sidecar;
  try {
    const bytes = await readFile(path);
    if (bytes.length > MAX_SIDECAR_BYTES) throw new Error(`it has ${bytes.length} bytes`);
    document = schema.parse(JSON.parse(bytes.toString()));
    const recipe: Recipe = {
      version: 1,
      charter: parseId(document.community),
      algorithm: document.algorithm,
      updates: document.updates.map(parseId),
      merge: document.merge,
    };
    sidecar = {
      recipe,
      recipeId: recipeId(recipe),
      frontier: document.frontier.map(parseId),
      seal: document.seal === null ? null : parseId(document.seal),
      without: document.without === null ? null : parseId(document.without),
    };
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new NodeError(
      'VERIFY_FAILED',
      `${path} does not say what this checkpoint is made of (${reason}): pull it again`,
      {
        path,
        reason,
      },
    );
  }
  if (sidecar.recipeId.toString() !== document.recipe) {
    throw new NodeError('VERIFY_FAILED', `${path} names recipe ${document.recipe} but describes ${sidecar.recipeId}`, {
      path,
      named: document.recipe,
      described: sidecar.recipeId.toString(),
    });
  }
  return sidecar;
}
