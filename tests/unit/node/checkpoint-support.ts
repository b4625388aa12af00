/** A community whose base is a directory, its checkpoint of no updates, and peers that offer what they are told to. */

import { spawnSync } from 'node:child_process';
import { cp, mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { generateKeyPair } from '@libp2p/crypto/keys';
import type { Multiaddr } from '@multiformats/multiaddr';
import type { CID } from 'multiformats/cid';
import { onTestFinished } from 'vitest';
import { createCommunity, DEFAULT_BUDGET } from '../../../node/community/create.ts';
import { CheckpointShelf } from '../../../node/core/checkpoint-shelf.ts';
import { type HomePaths, homePaths } from '../../../node/home/paths.ts';
import { blocks, createHost, logSource, sync } from '../../../protocols/index.ts';
import {
  charterTable,
  encodeSignedHead,
  frontierOf,
  type Head,
  Log,
  MERGE_ALGORITHM,
  recipeId,
  signHead,
} from '../../../src/log/index.ts';
import { exportMerged } from '../../../src/merge/index.ts';
import { createSafetensors, openCheckpoint } from '../../../src/tensors/index.ts';
import { testKey } from '../log/helpers.ts';
import { entriesOf, putIn } from './journal-support.ts';
import { joinHome, type Pond, random, scratch, type Update } from './support.ts';

export const CONFIG = '{"hidden_size":64}\n';
export const TOKENIZER = '{"model":{"type":"BPE"}}\n';

/** Bytes of a tensor that no merge changes: it makes the weights longer than three blocks. */
const TABLE_BYTES = 3 * 1024 * 1024;
const FLOATS = [
  { name: 'a.weight', shape: [32, 64] },
  { name: 'b.bias', shape: [64] },
] as const;

export interface Shore extends Pond {
  /** The checkpoint of the recipe without updates, as a node exports it. */
  readonly exported: string;
  /** The recipe without updates. */
  readonly recipe: CID;
}

export async function makeShore(options: { budgets?: { updates: number; bytes: number } } = {}): Promise<Shore> {
  const directory = await scratch();
  const base = join(directory, 'base');
  await mkdir(base);
  const next = random(3);
  const table = { name: 'table', dtype: 'U8' as const, shape: [TABLE_BYTES] };
  const floats = FLOATS.map(({ name, shape }) => ({ name, dtype: 'F32' as const, shape: [...shape] }));
  const writer = await createSafetensors(join(base, 'model.safetensors'), [...floats, table]);
  for (const { name, shape } of FLOATS) {
    const values = new Float32Array(shape.reduce((a: number, b: number) => a * b, 1)).map(() => (next() - 0.5) * 0.3);
    await writer.write(name, new Uint8Array(values.buffer));
  }
  await writer.write(
    'table',
    new Uint8Array(TABLE_BYTES).map((_, i) => (i >>> 8) & 255),
  );
  await writer.commit();
  await writeFile(join(base, 'config.json'), CONFIG);
  await writeFile(join(base, 'tokenizer.json'), TOKENIZER);
  const home = homePaths(join(directory, 'first'));
  const made = await createCommunity(
    {
      base,
      name: 'shore',
      out: join(directory, 'charter.cbor'),
      open: true,
      merge: { method: 'opcm', variant: 'ref', alpha: 0.5, scale: 1 },
      limits: {},
      budgets: options.budgets ?? DEFAULT_BUDGET,
    },
    { home },
  );
  const { id: charterId, bytes: charterBytes, charter } = made;
  const recipe = recipeId({
    version: 1,
    charter: charterId,
    algorithm: MERGE_ALGORITHM,
    updates: [],
    merge: charter.merge,
  });
  const exported = join(directory, 'exported');
  const opened = await openCheckpoint(base);
  const metadata = { 'kinmerge.community': charterId.toString(), 'kinmerge.recipe': recipe.toString() };
  await exportMerged({ state: null, base: opened, scale: 1, out: exported, metadata });
  await opened.close();
  const shore = { directory, base, charter, charterId, charterBytes, table: charterTable(charter), home };
  await joinHome(shore, home);
  return { ...shore, exported, recipe };
}

/** A copy of the exported checkpoint, changed by `change`. */
export async function altered(shore: Shore, change: (directory: string) => Promise<unknown>): Promise<string> {
  const directory = join(shore.directory, `altered-${(await readdir(shore.directory)).length}`);
  await cp(shore.exported, directory, { recursive: true });
  await change(directory);
  return directory;
}

/** What of a head a test may claim. */
type Said = Partial<Pick<Head, 'recipe' | 'checkpoint' | 'frontier' | 'held'>>;

export interface Peer {
  /** What it offers. */
  readonly directory: string;
  readonly address: Multiaddr;
  /** Every block that was asked for: file name and index. */
  readonly asked: string[];
  /** What the head says from now on. */
  say(changes: Said): void;
  readonly checkpoint: CID;
}

/** A peer that offers a directory as its checkpoint; without updates unless it is given some. */
export async function startPeer(
  shore: Shore,
  options: {
    directory?: string;
    /** Objects served instead of the right ones. */
    objects?: ReadonlyMap<string, Uint8Array>;
    head?: Said;
    /** What it holds, and the recipe that it makes of it. */
    held?: { readonly updates: readonly Update[]; readonly recipe: CID };
    /** Loses its connections in the middle of the syncs with these numbers, from 0. */
    losesSyncs?: readonly number[];
    /** Called for every block; false: the block is not there. */
    block?: (index: number) => Promise<boolean>;
  } = {},
): Promise<Peer> {
  const shelf = new CheckpointShelf();
  const path = options.directory ?? shore.exported;
  const recipe = options.held?.recipe ?? shore.recipe;
  const checkpoint = await shelf.put({ recipe: recipe.toString(), path });
  const log = new Log({ charter: shore.charter, charterId: shore.charterId });
  const objects = new Map(options.objects);
  const payloads = new Map<string, Uint8Array>();
  for (const { signed, payload, manifest } of options.held?.updates ?? []) {
    log.setPayload(manifest.id, payload.length);
    log.addRecord(signed);
    objects.set(manifest.id.toString(), manifest.bytes);
    payloads.set(manifest.id.toString(), payload);
  }
  const key = testKey(900);
  let counter = 0;
  let said: Said = options.head ?? {};
  let syncs = 0;
  const head = () => {
    if (options.losesSyncs?.includes(syncs++)) {
      for (const connection of host.getConnections()) connection.abort(new Error('lost'));
    }
    return encodeSignedHead(
      signHead(
        {
          version: 1,
          node: key.publicKey,
          charter: shore.charterId,
          recipe,
          sealed: null,
          checkpoint,
          ...frontierOf(log.heads()),
          accepted: 0,
          held: log.size,
          ...said,
          counter: ++counter,
        },
        key,
      ),
    );
  };
  const asked: string[] = [];
  const host = await createHost(
    {
      privateKey: await generateKeyPair('Ed25519'),
      listen: ['/ip4/127.0.0.1/tcp/0'],
      version: '0.0.0-test',
      communities: [shore.charterId],
    },
    {
      blocks: blocks({
        source: {
          object: async (id) =>
            objects.get(id.toString()) ?? (id.equals(shore.charterId) ? shore.charterBytes : shelf.object(id)),
          block: async (id, index) => {
            asked.push(`${id} ${index}`);
            if ((await options.block?.(index)) === false) return undefined;
            return payloads.get(id.toString()) ?? shelf.block(id, index);
          },
        },
      }),
      sync: sync({ source: logSource({ log, charter: shore.charterId, head }) }),
    },
  );
  onTestFinished(() => host.stop());
  return {
    address: host.getMultiaddrs()[0]!,
    directory: path,
    asked,
    checkpoint,
    say: (changes) => {
      said = changes;
    },
  };
}

/** Puts updates into a home, as a book that was closed leaves them. */
export async function writeHome(home: HomePaths, made: readonly Update[]): Promise<void> {
  await mkdir(home.blobs, { recursive: true });
  await putIn(home, made.flatMap(entriesOf));
  for (const { payload, manifest } of made) await writeFile(join(home.blobs, manifest.id.toString()), payload);
}

/** The id of a process that has ended. */
export function deadProcess(): number {
  return spawnSync(process.execPath, ['-e', '']).pid;
}
