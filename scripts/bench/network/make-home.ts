/**
 * Fills homes with many updates, as if a node had received them, without the flushes of each one.
 *
 * `node scripts/bench/network/make-home.ts DIRECTORY [RECORDS]` makes a community and two homes of it: `empty` and `full`.
 */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { createCommunity } from '../../../node/community/create.ts';
import { joinCommunity } from '../../../node/community/join.ts';
import { type HomePaths, homePaths } from '../../../node/home/paths.ts';
import { createJournal } from '../../../node/stores/journal.ts';
import { encodeSize, type JournalEntry, KIND } from '../../../node/stores/journal-format.ts';
import { encodeTernarySync, ternaryFromSigns } from '../../../src/codec/index.ts';
import {
  type Charter,
  charterTable,
  compareBytes,
  encodeSigned,
  generateKey,
  manifestOf,
  type SignedRecord,
  signRecord,
} from '../../../src/log/index.ts';
import { createSafetensors } from '../../../src/tensors/index.ts';
import { RandomStream } from '../synthetic/random.ts';

export interface HomeContents {
  readonly records: number;
  readonly authors: number;
  /** The first ones are accepted; the norm of the others is far below theirs, so that they are compared with nobody. */
  readonly accepted: number;
}

const DENSITY = 0.2;
/** A tenth of the base's norm, as honest updates have. */
const SCALE = 0.01 / Math.sqrt(DENSITY);
const DECLINED_NORM = 0.1;
const BASE_DEVIATION = 0.1;
const TENSORS = [
  { name: 'block.0.weight', shape: [16, 24] },
  { name: 'head.bias', shape: [16] },
] as const;
/** Payload files written at once. */
const FILES = 64;

/** Fills a home that joined and never ran: a chain per author, each record naming the one before it. */
export async function fillHome(
  { home, charter, charterId }: { home: HomePaths; charter: Charter; charterId: SignedRecord['id'] },
  { records, authors, accepted }: HomeContents,
): Promise<void> {
  const table = charterTable(charter);
  const chains = Array.from({ length: authors }, () => ({ key: generateKey(), last: null as SignedRecord | null }));
  const entries: JournalEntry[] = [];
  await mkdir(home.blobs, { recursive: true });
  let last = null as SignedRecord | null;
  let writing: Promise<void>[] = [];
  for (let index = 0; index < records; index++) {
    const payload = payloadOf(table, index, index < accepted ? 1 : DECLINED_NORM);
    const manifest = await manifestOf(payload);
    const chain = chains[index % authors]!;
    const seen: SignedRecord[] = [last, chain.last].filter((one): one is SignedRecord => one !== null);
    const parents = new Map<string, SignedRecord['id']>(seen.map(({ id }) => [`${id}`, id]));
    last = signRecord(
      {
        version: 1,
        kind: 'update',
        author: chain.key.publicKey,
        charter: charterId,
        seq: chain.last === null ? 0 : chain.last.record.seq + 1,
        prev: chain.last?.id ?? null,
        parents: [...parents.values()].sort((a, b) => compareBytes(a.bytes, b.bytes)),
        payload: manifest.id,
        title: `update ${index}`,
        license: 'Apache-2.0',
        note: '',
      },
      chain.key,
    );
    chain.last = last;
    const { digest } = manifest.id.multihash;
    entries.push(
      { kind: KIND.manifest, digest, body: manifest.bytes },
      { kind: KIND.stored, digest, body: encodeSize(payload.length) },
      { kind: KIND.record, digest: last.id.multihash.digest, body: encodeSigned(last) },
    );
    writing.push(writeFile(join(home.blobs, manifest.id.toString()), payload));
    if (writing.length === FILES) {
      await Promise.all(writing);
      writing = [];
    }
  }
  await Promise.all(writing);
  await createJournal(home.journal, entries);
}

function payloadOf(table: ReturnType<typeof charterTable>, index: number, norm: number): Uint8Array {
  const own = new RandomStream(`payload ${index}`);
  const common = new RandomStream('direction');
  const tensors = table.flatMap(({ elements }, place) => {
    const signs = new Int8Array(elements);
    for (let i = 0; i < elements; i++) {
      const direction = common.uniform() < 0.5 ? 1 : -1;
      const drawn = own.uniform() / DENSITY;
      // Mostly those of a common direction, so that updates are kin.
      if (drawn < 1) signs[i] = drawn < 0.7 ? direction : -direction;
    }
    const tensor = ternaryFromSigns(place, signs, Math.fround(SCALE * norm));
    return tensor === null ? [] : [tensor];
  });
  return encodeTernarySync(table, tensors);
}

async function main(directory: string, records: number): Promise<void> {
  const base = join(directory, 'base.safetensors');
  await mkdir(directory, { recursive: true });
  const random = new RandomStream('base');
  const writer = await createSafetensors(
    base,
    TENSORS.map(({ name, shape }) => ({ name, dtype: 'F32' as const, shape: [...shape] })),
  );
  for (const { name, shape } of TENSORS) {
    const count = shape.reduce((product: number, side) => product * side, 1);
    const values = Float32Array.from({ length: count }, () => BASE_DEVIATION * random.normal());
    await writer.write(name, new Uint8Array(values.buffer));
  }
  await writer.commit();
  const out = join(directory, 'charter.cbor');
  const { charter, id } = await createCommunity(
    {
      base,
      name: 'many',
      out,
      open: true,
      merge: { method: 'opcm', variant: 'ref', alpha: 0.5, scale: 1 },
      limits: {},
      budgets: { updates: 100_000, bytes: 2 ** 40 },
    },
    { home: homePaths(join(directory, 'owner')) },
  );
  const { signal } = new AbortController();
  for (const name of ['empty', 'full']) {
    const home = homePaths(join(directory, name));
    await joinCommunity(
      { target: out, base, peers: [], listen: ['/ip4/127.0.0.1/tcp/0'], announce: [] },
      { home, signal },
    );
    if (name === 'full') await fillHome({ home, charter, charterId: id }, { records, authors: 20, accepted: 32 });
  }
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  await main(process.argv[2] ?? 'homes', Number(process.argv[3] ?? 10_000));
}
