import { crc32 } from 'node:zlib';
import type { PayloadMeasure, TensorMeasure } from '../../src/codec/index.ts';
import { DIGEST_BYTES, idFromDigest } from '../../src/log/index.ts';
import type { Logger } from '../logger.ts';
import { DerivedFile } from '../stores/derived-file.ts';
import type { PayloadVerdict } from '../work/payload-calls.ts';

type PayloadId = ReturnType<typeof idFromDigest>;

/** First bytes of the file, with the version of the format and of what is measured. */
const MAGIC = Buffer.from('kinmerge/verdicts/1\n');
/** Length of what follows the sum (u32) and CRC-32 of it (u32), before every entry. Numbers are little-endian. */
const FRAME_BYTES = 8;
/** Digest of the payload and whether it is well-formed (u8). */
const HEAD_BYTES = DIGEST_BYTES + 1;
/** Bytes, elements, entries, norm and sum (f64 each) and the number of tensors (u32). */
const MEASURE_BYTES = 44;
/** Index and peak (u32 each), scale, entries, sum and squares (f64 each). */
const TENSOR_BYTES = 40;

/** What was measured of payloads, kept over restarts. */
export class VerdictFile {
  readonly #file: DerivedFile;

  constructor({ path }: { path: string }, components: { logger: Logger }) {
    const warning = 'measurements are not kept: they will be made again after a restart';
    this.#file = new DerivedFile({ path, magic: MAGIC, warning }, components);
  }

  /** Reads everything; call it once, before the first append. */
  load(take: (payload: PayloadId, verdict: PayloadVerdict) => void): Promise<void> {
    return this.#file.load((bytes) => {
      if (bytes.length < FRAME_BYTES) return undefined;
      const end = FRAME_BYTES + bytes.readUInt32LE(0);
      if (end > bytes.length) return undefined;
      const body = bytes.subarray(FRAME_BYTES, end);
      const verdict = bytes.readUInt32LE(4) === crc32(body) ? decode(body) : undefined;
      if (verdict === undefined) return undefined;
      take(idFromDigest(new Uint8Array(body.subarray(0, DIGEST_BYTES))), verdict);
      return end;
    });
  }

  /** Appends, without a flush. What cannot be written is measured again after the next start. */
  append(payload: PayloadId, verdict: PayloadVerdict): Promise<void> {
    return this.#file.append(() => encode(payload, verdict));
  }
}

function encode(payload: PayloadId, verdict: PayloadVerdict): Buffer {
  const head = Buffer.concat([payload.multihash.digest, Uint8Array.of(verdict.ok ? 1 : 0)]);
  const rest = verdict.ok
    ? encodeMeasure(verdict.measure)
    : Buffer.from(JSON.stringify({ fault: verdict.fault, message: verdict.message }));
  const body = Buffer.concat([head, rest]);
  const frame = Buffer.alloc(FRAME_BYTES);
  frame.writeUInt32LE(body.length, 0);
  frame.writeUInt32LE(crc32(body), 4);
  return Buffer.concat([frame, body]);
}

function encodeMeasure({ bytes, elements, nnz, norm, sum, tensors }: PayloadMeasure): Buffer {
  const out = Buffer.alloc(MEASURE_BYTES + tensors.length * TENSOR_BYTES);
  [bytes, elements, nnz, norm, sum].forEach((value, place) => {
    out.writeDoubleLE(value, 8 * place);
  });
  out.writeUInt32LE(tensors.length, 40);
  tensors.forEach(({ index, peak, scale, entries, sum: total, squares }, place) => {
    const at = MEASURE_BYTES + place * TENSOR_BYTES;
    out.writeUInt32LE(index, at);
    out.writeUInt32LE(peak, at + 4);
    [scale, entries, total, squares].forEach((value, column) => {
      out.writeDoubleLE(value, at + 8 + 8 * column);
    });
  });
  return out;
}

function decode(body: Buffer): PayloadVerdict | undefined {
  if (body.length < HEAD_BYTES) return undefined;
  const rest = body.subarray(HEAD_BYTES);
  if (body[DIGEST_BYTES] === 0) {
    const { fault, message } = JSON.parse(rest.toString()) as { fault: string; message: string };
    return { ok: false, fault, message };
  }
  const number = (at: number) => rest.readDoubleLE(at);
  const count = rest.length < MEASURE_BYTES ? -1 : rest.readUInt32LE(40);
  if (rest.length !== MEASURE_BYTES + count * TENSOR_BYTES) return undefined;
  const tensors: TensorMeasure[] = [];
  for (let at = MEASURE_BYTES; at < rest.length; at += TENSOR_BYTES) {
    tensors.push({
      index: rest.readUInt32LE(at),
      scale: number(at + 8),
      entries: number(at + 16),
      sum: number(at + 24),
      squares: number(at + 32),
      peak: rest.readUInt32LE(at + 4),
    });
  }
  const [bytes, elements, nnz, norm, sum] = [number(0), number(8), number(16), number(24), number(32)];
  return { ok: true, measure: { bytes, tensors, elements, nnz, norm, sum } };
}
