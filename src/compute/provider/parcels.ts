/**
 * Matrices between processes: announced by their lengths, then sent in pieces.
 *
 * Node's channel between processes copies a message several times and sends it whole. In pieces the copies are small, so
 * that 260 MB arrive sooner and with less memory, and a cancellation is heard in between.
 */

export type Bulk = Float32Array<ArrayBuffer> | Float64Array<ArrayBuffer>;

/** What a call takes, and what it gives. */
export interface Parcel {
  /** Plain data. */
  readonly fields: unknown;
  readonly arrays: Readonly<Record<string, Bulk>>;
}

/** The parcel's first message says what is to come. */
export interface ParcelHead {
  readonly fields: unknown;
  readonly lengths: Readonly<Record<string, { readonly type: 'float32' | 'float64'; readonly length: number }>>;
}

export interface Piece {
  readonly kind: 'piece';
  readonly id: number;
  readonly name: string;
  /** In bytes. */
  readonly offset: number;
  readonly data: Uint8Array;
}

/** Bytes of a piece: large enough that their number does not matter, small enough to be copied in a millisecond. */
export const PIECE_BYTES = 4 * 2 ** 20;

export function headOfParcel({ fields, arrays }: Parcel): ParcelHead {
  const lengths = Object.entries(arrays).map(([name, array]) => {
    const type = array instanceof Float32Array ? 'float32' : 'float64';
    return [name, { type, length: array.length }] as const;
  });
  return { fields, lengths: Object.fromEntries(lengths) };
}

/** The pieces of a parcel's arrays; each is a view of the array, to be sent before the array changes. */
export function* piecesOf({ arrays }: Parcel, id: number): Generator<Piece> {
  for (const [name, { buffer, byteOffset, byteLength }] of Object.entries(arrays)) {
    for (let offset = 0; offset < byteLength; offset += PIECE_BYTES) {
      const length = Math.min(PIECE_BYTES, byteLength - offset);
      yield { kind: 'piece', id, name, offset, data: new Uint8Array(buffer, byteOffset + offset, length) };
    }
  }
}

/** A parcel that is coming in. */
export class IncomingParcel {
  readonly #fields: unknown;
  readonly #arrays: Record<string, Bulk> = {};
  #missing = 0;

  constructor({ fields, lengths }: ParcelHead) {
    this.#fields = fields;
    for (const [name, { type, length }] of Object.entries(lengths)) {
      const array = type === 'float32' ? new Float32Array(length) : new Float64Array(length);
      this.#arrays[name] = array;
      this.#missing += array.byteLength;
    }
  }

  add({ name, offset, data }: Piece): void {
    const { buffer } = this.#arrays[name]!;
    new Uint8Array(buffer, offset, data.byteLength).set(data);
    this.#missing -= data.byteLength;
  }

  /** The parcel once it is complete. */
  get whole(): Parcel | null {
    return this.#missing === 0 ? { fields: this.#fields, arrays: this.#arrays } : null;
  }
}
