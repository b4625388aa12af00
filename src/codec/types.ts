import type { FileIdentity } from '../file-identity.ts';
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
 * Signs of a row-major flattened array, as two bit masks (docs/algorithms.md B.4). Entry i is bit `i & 31` of word
 * `i >>> 5`; each mask has `ceil(elements / 32)` words, and the bits past the elements are zero. No entry is in both
 * masks. `nnz` is the number of bits in both together, at least 1.
 */
export interface SignMasks {
  readonly plus: Uint32Array;
  readonly minus: Uint32Array;
  readonly nnz: number;
}

/** One tensor of a task vector whose entries are scale, -scale and 0. */
export interface TernaryTensor extends SignMasks {
  readonly form?: undefined;
  /** Position in the tensor table. */
  readonly index: number;
  readonly elements: number;
  /** The magnitude of every non-zero entry: a normal float32 value above 0. */
  readonly scale: number;
}

/**
 * One tensor of a task vector as scale · K, where K = left · right is the product of two matrices of signs, so a matrix
 * of integers from -rank to rank. The tensor's row-major entries are those of K, whatever its own shape.
 */
export interface LowRankTensor {
  readonly form: 'low-rank';
  /** Position in the tensor table. */
  readonly index: number;
  /** rows · columns, at least rank · (rows + columns). */
  readonly elements: number;
  /** A normal float32 value above 0 with so few bits that scale · k is a float32 for every |k| ≤ rank (`lowRankScale`). */
  readonly scale: number;
  readonly rows: number;
  readonly columns: number;
  /** 1..MAX_UPDATE_RANK. */
  readonly rank: number;
  /** rows x rank, row-major. */
  readonly left: SignMasks;
  /** rank x columns, row-major. */
  readonly right: SignMasks;
}

/** One tensor of an update, in either form; `form` tells which. */
export type UpdateTensor = TernaryTensor | LowRankTensor;

/** `global`: one selection and one scale for the whole vector. `tensor`: a selection and a scale per tensor. */
export type ScaleMode = 'global' | 'tensor';

/**
 * What a scale factor multiplies. `deviation`: the standard deviation of the unpruned vector or tensor
 * (docs/algorithms.md B.1). `magnitude`: the mean magnitude of the kept entries, the scale of least square error.
 */
export type ScaleUnit = 'deviation' | 'magnitude';

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

/** Where the code of one tensor, or of one factor, lies in a payload; known after the walk over the section headers. */
export interface PayloadSection extends SectionCoding {
  readonly form?: undefined;
  readonly index: number;
  /** Of the tensor or of the factor. */
  readonly elements: number;
  readonly nnz: number;
  readonly scale: number;
  /** Byte offset of the section's bits from the start of the payload, and their length in bytes. */
  readonly offset: number;
  readonly byteLength: number;
}

/** Where the two codes of a low-rank tensor lie in a payload. */
export interface LowRankSection {
  readonly form: 'low-rank';
  readonly index: number;
  /** Of the tensor. */
  readonly elements: number;
  /** Coded entries, of both factors. */
  readonly nnz: number;
  readonly scale: number;
  readonly rows: number;
  readonly columns: number;
  readonly rank: number;
  readonly left: PayloadSection;
  readonly right: PayloadSection;
  /** Byte offset of the first code, and the length of both, which lie next to each other. */
  readonly offset: number;
  readonly byteLength: number;
}

/** One section of a payload, in either form; `form` tells which. */
export type UpdateSection = PayloadSection | LowRankSection;

/** A payload in a file, from a byte of it on. */
export interface PayloadLocation {
  readonly path: string;
  readonly offset: number;
  /** What the file was when it was opened. */
  readonly identity: FileIdentity;
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
  /** Sum of the sections' `nnz`: the coded entries. */
  readonly nnz: number;
  /** Ascending by `index`; tensors without coded entries have no section. */
  readonly sections: readonly UpdateSection[];
  /** Decodes the tensors in ascending index. Masks are fresh for every tensor: the caller may keep them. */
  tensors(options?: RunOptions): AsyncIterable<UpdateTensor>;
  /** Decodes the tensor at a table position; null when it has no section, so is all zero. */
  tensor(index: number, options?: RunOptions): Promise<UpdateTensor | null>;
  /** The file and the offset in it where the payload begins, or its bytes: for readers in other threads. */
  readonly location: PayloadLocation | Uint8Array;
  /** Releases the file, if the reader opened one. May be called twice. */
  close(): Promise<void>;
}

/**
 * What a tensor's integers come to. The tensor is scale · K; K is the matrix of signs of a ternary tensor and the product
 * of the factors of a low-rank one. All are exact: below 2^53 for every tensor that a payload can hold.
 */
export interface TensorMeasure {
  readonly index: number;
  readonly scale: number;
  /** Coded entries: the non-zero ones of a ternary tensor, those of both factors of a low-rank one. At least 1. */
  readonly entries: number;
  /** Σ K. */
  readonly sum: number;
  /** Σ K²; 0 for a low-rank tensor whose terms cancel everywhere, which is then all zero. */
  readonly squares: number;
  /** The largest |K|: 1 for a ternary tensor, at most the rank for a low-rank one. */
  readonly peak: number;
}

/** What admission needs of a payload, all of it computed from the payload (docs/algorithms.md D.2). */
export interface PayloadMeasure {
  /** Size of the payload. */
  readonly bytes: number;
  /** The coded tensors, ascending by index. */
  readonly tensors: readonly TensorMeasure[];
  /** Elements of the whole table, coded or not. */
  readonly elements: number;
  /** Coded entries. */
  readonly nnz: number;
  /** sqrt(Σ_t scale² · squares_t), float64, tensors in table order. */
  readonly norm: number;
  /** Σ_t scale · sum_t, float64, tensors in table order. */
  readonly sum: number;
}
