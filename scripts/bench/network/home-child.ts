/** A process that fills a home with updates of several authors, as if a node had received them. */
import { randomBytes } from 'node:crypto';
import { encodeTernarySync, ternaryFromSigns } from '../../../src/codec/index.ts';
import { charterTable, encodeSigned, manifestOf, type SignedRecord } from '../../../src/log/index.ts';
import { RandomStream } from '../synthetic/random.ts';
import { Authors } from './authors.ts';
import { Holder } from './holder.ts';

export interface HomeJob {
  readonly home: string;
  readonly records: number;
  readonly authors: number;
  /** Bytes of every payload, which are random; or payloads of the community's tensors. */
  readonly payload: number | 'valid';
  /** Valid payloads that admission accepts: the first ones. The norm of the others is far below theirs. */
  readonly accepted?: number;
}

export interface MadeHome {
  /** Bytes of the signed records, and of their payloads. */
  readonly records: number;
  readonly payloads: number;
}

const DENSITY = 0.2;
/** A tenth of the base's norm, as honest updates have. */
const SCALE = 0.01 / Math.sqrt(DENSITY);
/** Norm of an update that is declined, by that of one that is accepted. */
const DECLINED_NORM = 0.1;

const job = JSON.parse(process.argv[2]!) as HomeJob;
const holder = await Holder.open(job.home);
const { book } = holder;
const table = charterTable(book.log.charter);
const authors = new Authors({ charterId: holder.options.charterId, authors: job.authors });
let last: SignedRecord | undefined;
const made = { records: 0, payloads: 0 };
for (let i = 0; i < job.records; i++) {
  const payload = job.payload === 'valid' ? validPayload(i) : randomBytes(job.payload);
  const manifest = await manifestOf(payload);
  const signed = authors.publish(manifest.id, last === undefined ? [] : [last]);
  await book.payloads.blobs.put(manifest.id, payload);
  await book.append(signed, manifest);
  made.records += encodeSigned(signed).length;
  made.payloads += payload.length;
  last = signed;
}
await holder.close();
const result: MadeHome = made;
process.stdout.write(JSON.stringify(result));

function validPayload(index: number): Uint8Array {
  const random = new RandomStream(`payload ${index}`);
  const common = new RandomStream('direction');
  const scale = Math.fround(SCALE * (index < (job.accepted ?? job.records) ? 1 : DECLINED_NORM));
  const tensors = table.map(({ elements }, place) => {
    const signs = new Int8Array(elements);
    for (let i = 0; i < elements; i++) {
      const direction = common.uniform() < 0.5 ? 1 : -1;
      const drawn = random.uniform() / DENSITY;
      // Mostly those of a common direction, so that updates are kin.
      if (drawn < 1) signs[i] = drawn < 0.7 ? direction : -direction;
    }
    return ternaryFromSigns(place, signs, scale)!;
  });
  return encodeTernarySync(table, tensors);
}
