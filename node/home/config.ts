import { readFile } from 'node:fs/promises';
import { z } from 'zod';
import { writeFileDurably } from '../../src/durable.ts';
import { MIN_DISK_LIMIT, MIN_FOLD_STATES } from '../core/limits.ts';
import { NodeError } from '../errors.ts';
import { HOME_LAYOUT_VERSION } from './paths.ts';

const schema = z.strictObject({
  layout: z.union([z.literal(1), z.literal(HOME_LAYOUT_VERSION)]),
  /** Community id: the CID of its first charter. */
  community: z.string(),
  /** Absolute path of the base checkpoint; null in a home that only pulls. */
  base: z.string().nullable(),
  /** Multiaddrs to listen on. */
  listen: z.array(z.string()),
  /** Multiaddrs that others are told to dial; where the node listens when empty. */
  announce: z.array(z.string()).default([]),
  /** Multiaddrs of the peers that the home was joined through; never forgotten. */
  bootstrap: z.array(z.string()),
  /** When a daemon with a sealer's key seals by itself; never when left out. */
  seal: z
    .strictObject({
      /** Accepted updates that no seal covers. */
      updates: z.number().int().min(1).optional(),
      /** Hours since the last seal, when there is anything to seal. */
      hours: z.number().positive().optional(),
    })
    .optional(),
  /** Whether a node that starts with nothing takes the decisions of sealers first and replays them later; default true. */
  adopt: z.boolean().optional(),
  /** Bytes that the home may take; no cap when left out. */
  diskLimit: z.number().int().min(MIN_DISK_LIMIT).optional(),
  /** Whether payloads of accepted updates are kept once they are sealed and folded; default true. */
  archive: z.boolean().optional(),
  /** States of the fold to keep; each is as large as the model. */
  foldStates: z.number().int().min(MIN_FOLD_STATES).optional(),
});

export type HomeConfig = z.infer<typeof schema>;

/**
 * @throws NodeError `HOME_NOT_JOINED` without a configuration, `HOME_NEWER` when a newer version wrote it, `HOME_INVALID`
 *   when it does not parse
 */
export async function readConfig(path: string): Promise<HomeConfig> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    throw new NodeError('HOME_NOT_JOINED', 'this home belongs to no community yet: run `kinmerge join` first', {
      path,
    });
  }
  try {
    const value: unknown = JSON.parse(text);
    refuseNewer(path, value);
    return schema.parse(value);
  } catch (error) {
    if (error instanceof NodeError) throw error;
    throw new NodeError(
      'HOME_INVALID',
      `${path} cannot be read as this version's configuration: correct or remove it`,
      {
        path,
        reason: error instanceof Error ? error.message : String(error),
      },
    );
  }
}

/** A newer layout is not guessed at: its owner may have more to lose than this program knows of. */
function refuseNewer(path: string, value: unknown): void {
  const layout = (value as { layout?: unknown } | null)?.layout;
  if (typeof layout !== 'number' || layout <= HOME_LAYOUT_VERSION) return;
  throw new NodeError(
    'HOME_NEWER',
    `this home has layout ${layout}, and this version knows ${HOME_LAYOUT_VERSION}: use the newer kinmerge, or another --home`,
    { path, layout, known: HOME_LAYOUT_VERSION },
  );
}

export async function writeConfig(path: string, config: HomeConfig): Promise<void> {
  await writeFileDurably(path, Buffer.from(`${JSON.stringify(schema.parse(config), null, 2)}\n`));
}
