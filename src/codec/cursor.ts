import { CodecError } from './errors.ts';
import { isWireScale } from './ternary.ts';

/** Reads numbers from the front of a header; whatever is missing is missing from the payload. */
export class Cursor {
  at: number;
  readonly #bytes: Uint8Array;

  constructor(bytes: Uint8Array, at = 0) {
    this.#bytes = bytes;
    this.at = at;
  }

  byte(): number {
    const value = this.#bytes[this.at++];
    if (value === undefined) throw truncated();
    return value;
  }

  /** Unsigned LEB128, minimal, at most 2^53 - 1. */
  varint(): number {
    let value = 0;
    let factor = 1;
    for (let i = 0; i < 8; i++) {
      const byte = this.byte();
      value += (byte & 0x7f) * factor;
      if (byte < 0x80) {
        if (byte === 0 && i > 0) break;
        if (value > Number.MAX_SAFE_INTEGER) break;
        return value;
      }
      factor *= 128;
    }
    throw new CodecError('BAD_VARINT', 'A number in the payload is not in its shortest form or too large.');
  }

  scale(): number {
    if (this.at + 4 > this.#bytes.length) throw truncated();
    const value = new DataView(this.#bytes.buffer, this.#bytes.byteOffset + this.at).getFloat32(0, true);
    this.at += 4;
    if (!isWireScale(value)) {
      throw new CodecError('BAD_SCALE', `A scale in the payload is ${value}, not a positive normal float32.`);
    }
    return value;
  }
}

export function truncated(): CodecError {
  return new CodecError('TRUNCATED', 'The payload ends too early. Fetch it again.');
}

/** Appends unsigned LEB128. */
export function pushVarint(bytes: number[], value: number): void {
  let rest = value;
  while (rest >= 128) {
    bytes.push((rest % 128) | 0x80);
    rest = Math.floor(rest / 128);
  }
  bytes.push(rest);
}

/** Appends a float32. */
export function pushScale(bytes: number[], value: number): void {
  const scale = new Uint8Array(4);
  new DataView(scale.buffer).setFloat32(0, value, true);
  bytes.push(...scale);
}
