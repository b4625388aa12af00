/** A small real community on disk: a base of three tensors, its charter, payloads that its admission accepts. */

import { randomUUID } from 'node:crypto';
import { mkdir, mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { CID } from 'multiformats/cid';
import pino from 'pino';
import { onTestFinished, vi } from 'vitest';
import { createCommunity, DEFAULT_BUDGET } from '../../../node/community/create.ts';
import { Community } from '../../../node/core/community.ts';
import type { GoverningKeys } from '../../../node/core/governing.ts';
import { RecordBook, type RecordBookListener } from '../../../node/core/record-book.ts';
import { writeConfig } from '../../../node/home/config.ts';
import { loadOrCreateKey } from '../../../node/home/keys.ts';
import { HOME_LAYOUT_VERSION, type HomePaths, homePaths } from '../../../node/home/paths.ts';
import type { EncoderChoice } from '../../../src/choose/index.ts';
import { encodeTernarySync, type TensorTable, ternaryFromSigns } from '../../../src/codec/index.ts';
import { Historian, type Step } from '../../../src/history/index.ts';
import type { AdmissionPolicy } from '../../../src/kinship/index.ts';
import {
  type Charter,
  charterTable,
  type IdentifiedManifest,
  type Log,
  manifestOf,
  type SignedRecord,
  type SignedUpdate,
  type SigningKey,
} from '../../../src/log/index.ts';
import { createSafetensors } from '../../../src/tensors/index.ts';
import { follow, testKey } from '../log/helpers.ts';

const TENSORS = [
  { name: 'a.weight', shape: [32, 64] },
  { name: 'b.bias', shape: [64] },
  { name: 'b.weight', shape: [64, 96] },
] as const;
const BASE_STANDARD_DEVIATION = 0.1;
const DENSITY = 0.2;
/** A tenth of the base's norm: what honest updates have. */
const SCALE = (0.1 * BASE_STANDARD_DEVIATION) / Math.sqrt(DENSITY);

/** A directory that is gone after the test. */
export async function scratch(): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'kinmerge-node-'));
  onTestFinished(() => rm(directory, { recursive: true, force: true, maxRetries: 3 }));
  return directory;
}

export const silent = pino({ level: 'silent' });

/** A logger that keeps its lines. */
export function keptLog(): { logger: pino.Logger; lines: Record<string, unknown>[] } {
  const lines: Record<string, unknown>[] = [];
  const logger = pino({ level: 'debug', base: null }, { write: (line: string) => lines.push(JSON.parse(line)) });
  return { logger, lines };
}

export function eventually(check: () => void | Promise<void>, timeout = 15_000): Promise<void> {
  return vi.waitFor(check, { timeout, interval: 20 });
}

/** Numbers from 0 to 1 that are the same in every run. */
export function random(seed: number): () => number {
  let state = (seed + 1) * 0x9e3779b1;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Name and shape of a model's tensors. */
export type TestTensors = readonly { readonly name: string; readonly shape: readonly number[] }[];

export interface Pond {
  readonly directory: string;
  readonly base: string;
  readonly charter: Charter;
  readonly charterId: CID;
  readonly charterBytes: Uint8Array;
  readonly table: TensorTable;
  /** The home that made the community; a member where membership is closed. */
  readonly home: HomePaths;
}

/** Makes the base and the charter; open unless said otherwise. */
export async function makePond(
  options: {
    members?: boolean;
    limits?: Partial<AdmissionPolicy>;
    encoder?: EncoderChoice;
    budgets?: { updates: number; bytes: number };
    tensors?: TestTensors;
  } = {},
): Promise<Pond> {
  const directory = await scratch();
  const base = join(directory, 'base.safetensors');
  await writeModel(base, 0, 1, options.tensors);
  const home = homePaths(join(directory, 'first'));
  const made = await createCommunity(
    {
      base,
      name: 'pond',
      out: join(directory, 'charter.cbor'),
      open: options.members !== true,
      merge: { method: 'opcm', variant: 'ref', alpha: 0.5, scale: 1 },
      limits: options.limits ?? {},
      encoder: options.encoder,
      budgets: options.budgets ?? DEFAULT_BUDGET,
    },
    { home },
  );
  const pond = {
    directory,
    base,
    charter: made.charter,
    charterId: made.id,
    charterBytes: made.bytes,
    table: charterTable(made.charter),
    home,
  };
  await joinHome(pond, home);
  return pond;
}

/** A safetensors file of the pond's shapes: the base, plus a change that grows with `strength`. */
export async function writeModel(
  path: string,
  strength: number,
  seed = 1,
  tensors: TestTensors = TENSORS,
): Promise<void> {
  const base = random(0);
  const change = random(seed + 100);
  const writer = await createSafetensors(
    path,
    tensors.map(({ name, shape }) => ({ name, dtype: 'F32' as const, shape: [...shape] })),
  );
  for (const { name, shape } of tensors) {
    const values = new Float32Array(shape.reduce((a: number, b: number) => a * b, 1));
    // Uniform with the wanted standard deviation: nothing here depends on the shape of the distribution.
    const width = BASE_STANDARD_DEVIATION * Math.sqrt(12);
    for (let i = 0; i < values.length; i++) values[i] = (base() - 0.5) * width + (change() - 0.5) * width * strength;
    await writer.write(name, new Uint8Array(values.buffer));
  }
  await writer.commit();
}

/** Writes what `join` writes, without reading the base again. */
export async function joinHome(pond: Pick<Pond, 'charterBytes' | 'charterId' | 'base'>, home: HomePaths) {
  await mkdir(home.root, { recursive: true });
  await writeFile(home.charter, pond.charterBytes);
  await loadOrCreateKey(home.authorKey);
  await loadOrCreateKey(home.nodeKey);
  await writeConfig(home.config, {
    layout: HOME_LAYOUT_VERSION,
    community: pond.charterId.toString(),
    base: pond.base,
    listen: ['/ip4/127.0.0.1/tcp/0'],
    announce: [],
    bootstrap: [],
  });
}

/** Another home of the community. */
export async function newHome(pond: Pond): Promise<HomePaths> {
  const home = homePaths(join(pond.directory, randomUUID()));
  await joinHome(pond, home);
  return home;
}

/** The signs of an update: mostly those of a common direction, so that updates of different seeds are kin. */
export function payloadOf(
  pond: Pond,
  seed: number,
  options: { scale?: number; flip?: boolean; density?: number } = {},
): Uint8Array {
  const density = options.density ?? DENSITY;
  // Of equal norm, however many elements share it.
  const scale = Math.fround((options.scale ?? 1) * SCALE * Math.sqrt(DENSITY / density));
  const draw = random(seed + 1);
  const common = random(7);
  let index = 0;
  const tensors = [];
  for (const { elements } of pond.table) {
    const signs = new Int8Array(elements);
    for (let i = 0; i < elements; i++) {
      const direction = common() < 0.5 ? 1 : -1;
      const kept = draw() < density;
      const sign = draw() < 0.7 ? direction : -direction;
      if (kept) signs[i] = options.flip === true ? -sign : sign;
    }
    tensors.push(ternaryFromSigns(index++, signs, scale)!);
  }
  return encodeTernarySync(pond.table, tensors);
}

export interface Update {
  readonly signed: SignedUpdate;
  readonly payload: Uint8Array;
  readonly manifest: IdentifiedManifest;
}

/** A signed record for a payload; the next of the author's chain after `prev`. */
export async function updateOf(
  pond: Pond,
  author: SigningKey,
  payload: Uint8Array,
  options: { prev?: SignedRecord | null; parents?: readonly SignedRecord[]; title?: string } = {},
): Promise<Update> {
  const manifest = await manifestOf(payload);
  const signed = follow(author, pond.charterId, options.prev ?? null, options.parents ?? [], {
    payload: manifest.id,
    title: options.title ?? 'an update',
  });
  return { signed, payload, manifest };
}

/** A chain of updates, each by its own author unless `author` is given, none naming another as parent unless chained. */
export async function updates(pond: Pond, count: number, author?: SigningKey): Promise<Update[]> {
  const made: Update[] = [];
  for (let i = 0; i < count; i++) {
    const prev = author === undefined ? null : (made.at(-1)?.signed ?? null);
    made.push(await updateOf(pond, author ?? testKey(100 + i), payloadOf(pond, i), { prev, title: `update ${i}` }));
  }
  return made;
}

export const deaf: RecordBookListener = {
  onHeld: () => {},
  onMissing: () => {},
  onEquivocations: () => {},
  onSeal: () => {},
};

export async function openBook(pond: Pond, home: HomePaths, listener: Partial<RecordBookListener> = {}) {
  const book = new RecordBook(
    { home, charter: pond.charter, charterId: pond.charterId },
    { listener: { ...deaf, ...listener }, logger: silent },
  );
  await book.open();
  return book;
}

/** What happens in the canonical order of a log. */
export function stepsOf(pond: Pick<Pond, 'charter' | 'charterId'>, log: Log): readonly Step[] {
  const decide = () => Promise.reject(new Error('nothing is decided here'));
  return new Historian(pond, { log, seals: log.seals, decide }).stepsSoFar().steps;
}

/** The caller closes it. */
export async function openCommunityHere(
  pond: Pond,
  options: {
    home?: HomePaths;
    fold?: boolean;
    logger?: pino.Logger;
    keys?: GoverningKeys;
    adopt?: boolean;
    diskLimit?: number;
  } = {},
): Promise<Community> {
  const home = options.home ?? (await newHome(pond));
  const community = new Community(
    {
      home,
      charter: pond.charter,
      charterId: pond.charterId,
      base: pond.base,
      engine: { device: 'cpu', workers: 1 },
      fold: options.fold ?? false,
      adopt: options.adopt,
      diskLimit: options.diskLimit,
    },
    {
      author: await loadOrCreateKey(home.authorKey),
      logger: options.logger ?? silent,
      ...(options.keys && { keys: options.keys }),
    },
  );
  await community.open();
  return community;
}

/** As the node opens it, closed after the test. */
export async function openCommunity(...args: Parameters<typeof openCommunityHere>): Promise<Community> {
  const community = await openCommunityHere(...args);
  onTestFinished(() => community.close());
  return community;
}

/** Every file below a directory with its size, sorted: what a call that failed must not change. */
export async function filesBelow(root: string): Promise<string[]> {
  const names = await readdir(root, { recursive: true });
  const found: string[] = [];
  for (const name of names.sort()) {
    const info = await stat(join(root, name)).catch(() => undefined);
    if (info?.isFile()) found.push(`${name} ${info.size}`);
  }
  return found;
}
