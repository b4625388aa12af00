import type { RunOptions } from '../run-options.ts';

/** One float tensor of a community's charter. `elements` is the product of `shape` (1 for a scalar). */
export interface TableTensor {
  readonly name: string;
  readonly shape: readonly number[];
  readonly elements: number;
}

/** The charter's float tensors in code-point order of their names. A payload names a tensor by its position here. */
export type TensorTable = readonly TableTensor[];

/**
 * One tensor of a ternary task vector, as two bit masks (docs/algorithms.md B.4). Entry i of the row-major flattened
 * tensor is bit `i & 31` of word `i >>> 5`; each mask has `ceil(elements / 32)` words, and the bits past `elements` are
 * zero. No entry is in both masks. `nnz` is the number of bits in both together, at least 1.
 */
export interface TernaryTensor {
  /** Position in the tensor table. */
  readonly index: number;
  readonly elements: number;
  /** The magnitude of every non-zero entry: a normal float32 value above 0. */
  readonly scale: number;
  readonly plus: Uint32Array;
  readonly minus: Uint32Array;
  readonly nnz: number;
}

/** `global`: one selection and one scale for the whole vector. `tensor`: a selection and a scale per tensor. */
export type ScaleMode = 'global' | 'tensor';

/** The model of a section under coding 1: what is learnt while decoding (docs/payload-format.md). */
export interface AnsModel {
  /** Elements of a row, a divisor of the tensor's; 0 when neither rows nor columns are modelled. */
  readonly width: number;
  /** Exponents of the priors of rows and columns, 1..15; 0 where these are not modelled. */
  readonly rows: number;
  readonly columns: number;
}

/** How a section is coded: by Golomb gaps (coding 0) or, with a model, by coding 1. */
export interface SectionCoding {
  /** The Golomb parameter, 1..elements; 0 under coding 1. */
  readonly golombM: number;
  /** The model of coding 1; absent under coding 0. */
  readonly model?: AnsModel;
}

/** Where one tensor's code lies in a payload, known after the walk over the section headers. */
export interface PayloadSection extends SectionCoding {
  readonly index: number;
  readonly elements: number;
  readonly nnz: number;
  readonly scale: number;
  /** Byte offset of the section's bits from the start of the payload, and their length in bytes. */
  readonly offset: number;
  readonly byteLength: number;
}

/**
 * An opened payload. Opening has checked the header and every section header; the bits of a section are checked when
 * the tensor is read, so only a full pass (`tensors()` to its end, or `checkPayload`) proves the whole payload.
 */
export interface PayloadReader {
  readonly table: TensorTable;
  /** Size of the payload in bytes. */
  readonly bytes: number;
  readonly mode: ScaleMode;
  /** Sum of the sections' `nnz`. */
  readonly nnz: number;
  /** Ascending by `index`; tensors without non-zero entries have no section. */
  readonly sections: readonly PayloadSection[];
  /** Decodes the tensors in ascending index. Masks are fresh for every tensor: the caller may keep them. */
  tensors(options?: RunOptions): AsyncIterable<TernaryTensor>;
  /** Decodes the tensor at a table position; null when it has no section, so is all zero. */
  tensor(index: number, options?: RunOptions): Promise<TernaryTensor | null>;
  /** Releases the file, if the reader opened one. May be called twice. */
  close(): Promise<void>;
}

/** What admission needs of a payload, all of it computed from the payload (docs/algorithms.md D.2). */
export interface PayloadMeasure {
  /** Size of the payload. */
  readonly bytes: number;
  /** The coded tensors, ascending by index: their scale and how many entries are +scale and -scale. */
  readonly tensors: readonly {
    readonly index: number;
    readonly scale: number;
    readonly plus: number;
    readonly minus: number;
  }[];
  /** Elements of the whole table, coded or not. */
  readonly elements: number;
  /** Non-zero entries. */
  readonly nnz: number;
  /** sqrt(Σ_t scale² · nnz_t), float64, tensors in table order. */
  readonly norm: number;
  /** Σ_t scale · (plus_t - minus_t), float64, tensors in table order. */
  readonly sum: number;
}
