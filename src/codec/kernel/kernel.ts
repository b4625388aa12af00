import { CodecError } from '../errors.ts';
import type { AnsModel } from '../types.ts';
import { KERNEL_WASM } from './wasm.ts';

/** Float dtypes as the kernel numbers them (widen.h). */
export const KERNEL_DTYPES = { F32: 1, F16: 2, BF16: 3, F8_E4M3: 4, F8_E5M2: 5, F64: 6 } as const;
export type KernelDtype = keyof typeof KERNEL_DTYPES;

/** What a run of a decoder came to (kernel.h); `more` wants another run. */
export const VERDICTS = [
  'more',
  'done',
  'POSITION_RANGE',
  'BAD_SECTION_LENGTH',
  'BAD_PADDING',
  'BAD_COUNT',
  'BAD_CODER_STATE',
] as const;
export type Verdict = (typeof VERDICTS)[number];

/** Bytes that may be read behind the code of a section; zeros (ans-decode.c, golomb.c). */
export const CODE_PADDING = 16;
/** Bytes that may be read behind the elements given to a pass (widen.h). */
export const ELEMENT_PADDING = 128;

/** Largest memory of a WebAssembly instance with 32-bit addresses, in bytes, less a page that the kernel leaves alone. */
export const MAX_KERNEL_BYTES = 2 ** 32 - 2 ** 16;

const PAGE = 65_536;

interface Exports {
  readonly memory: WebAssembly.Memory;
  readonly __heap_base: WebAssembly.Global<'i32'>;
  select_begin(): void;
  get_total(): number;
  get_squares(): number;
  upper_counts(): number;
  lower_counts(): number;
  measure(base: number, baseDtype: number, tune: number, tuneDtype: number, count: number, sums: number): number;
  measure_end(): void;
  refine(
    base: number,
    baseDtype: number,
    tune: number,
    tuneDtype: number,
    count: number,
    bucket: number,
    squares: number,
    mean: number,
  ): void;
  count_equal(base: number, baseDtype: number, tune: number, tuneDtype: number, count: number, value: number): number;
  ternarise_begin(ties: number): void;
  ternarise(
    base: number,
    baseDtype: number,
    tune: number,
    tuneDtype: number,
    count: number,
    threshold: number,
    plus: number,
    minus: number,
  ): void;
  kept(): number;
  split_begin(heap: number, most: number): void;
  split(
    base: number,
    baseDtype: number,
    tune: number,
    tuneDtype: number,
    count: number,
    low: number,
    high: number,
    plus: number,
    minus: number,
    candidates: number,
  ): number;
  split_above(): number;
  split_sum(): number;
  split_candidates(): number;
  split_select(rank: number, low: number, high: number): number;
  split_ties(): number;
  split_settle(words: number, threshold: number, ties: number, plus: number, minus: number, candidates: number): number;
  product_begin(
    leftPlus: number,
    leftMinus: number,
    rightPlus: number,
    rightMinus: number,
    rank: number,
    columns: number,
    first: number,
    count: number,
    room: number,
  ): void;
  product_clear(): void;
  product_measure(rowFrom: number, rowTo: number): void;
  product_expand(rowFrom: number, rowTo: number, scale: number, out: number): void;
  product_dot(rowFrom: number, rowTo: number, plus: number, minus: number, columns: number, first: number): void;
  product_sum(): number;
  product_squares(): number;
  product_peak(): number;
  count_rows_columns(plus: number, minus: number, words: number, width: number, rows: number, columns: number): void;
  golomb_bits(plus: number, minus: number, words: number, m: number): number;
  golomb_encode(plus: number, minus: number, words: number, m: number, out: number): void;
  golomb_decode_begin(code: number, length: number, elements: number, nnz: number, m: number): void;
  golomb_decode_run(limit: number): number;
  ans_encode(
    plus: number,
    minus: number,
    elements: number,
    nnz: number,
    width: number,
    rows: number,
    columns: number,
    heap: number,
  ): number;
  ans_encode_end(): number;
  ans_decode_begin(
    code: number,
    length: number,
    elements: number,
    nnz: number,
    width: number,
    rows: number,
    columns: number,
  ): number;
  ans_decode_run(limit: number): number;
  decode_to(plus: number, minus: number): void;
  expand_masks(plus: number, minus: number, words: number, scale: number, out: number): void;
  entries_found(): number;
  negatives_found(): number;
}

let compiled: WebAssembly.Module | undefined;

/** The compiled kernel. Threads that are given it need not compile it again. */
export function kernelModule(): WebAssembly.Module {
  compiled ??= new WebAssembly.Module(Buffer.from(KERNEL_WASM, 'base64'));
  return compiled;
}

/**
 * The hot loops of the codec: C compiled to WebAssembly with SIMD (the files beside this one). An instance has one
 * memory and one piece of work at a time; its caller lays the memory out from `heap` on. Addresses are bytes.
 */
export class Kernel {
  readonly calls: Exports;
  /** The first free address, a multiple of 16. */
  readonly heap: number;

  constructor(module: WebAssembly.Module = kernelModule()) {
    this.calls = new WebAssembly.Instance(module).exports as unknown as Exports;
    this.heap = (this.calls.__heap_base.value + 15) & ~15;
  }

  /** Bytes of memory that the instance has. */
  get bytes(): number {
    return this.calls.memory.buffer.byteLength;
  }

  /**
   * Makes the memory reach at least to the address `end`. Views made before are void afterwards.
   *
   * @throws CodecError OUT_OF_MEMORY when the machine refuses, or above `MAX_KERNEL_BYTES`
   */
  reach(end: number): void {
    const missing = end - this.bytes;
    if (missing <= 0) return;
    try {
      if (end > MAX_KERNEL_BYTES) throw new RangeError(`above ${MAX_KERNEL_BYTES} bytes`);
      this.calls.memory.grow(Math.ceil(missing / PAGE));
    } catch (cause) {
      throw outOfMemory(end, cause);
    }
  }

  u8(at: number, length: number): Uint8Array {
    return new Uint8Array(this.calls.memory.buffer, at, length);
  }

  u32(at: number, length: number): Uint32Array {
    return new Uint32Array(this.calls.memory.buffer, at, length);
  }

  f32(at: number, length: number): Float32Array {
    return new Float32Array(this.calls.memory.buffer, at, length);
  }

  /**
   * Codes masks under a model of coding 1, behind `end`. Null with more symbols than the list of these may hold.
   *
   * @throws CodecError OUT_OF_MEMORY
   */
  encodeAns(
    t: {
      readonly plus: number;
      readonly minus: number;
      readonly elements: number;
      readonly nnz: number;
      readonly end: number;
    },
    { width, rows, columns }: AnsModel,
  ): { readonly start: number; readonly end: number } | null {
    // Addresses above 2 GiB come back as negative numbers.
    const at = this.calls.ans_encode(t.plus, t.minus, t.elements, t.nnz, width, rows, columns, t.end) >>> 0;
    if (at === TOO_MANY_SYMBOLS) return null;
    if (at === MEMORY_REFUSED) throw outOfMemory(this.bytes);
    return { start: at, end: this.calls.ans_encode_end() >>> 0 };
  }

  /** Begins to decode a section whose code lies at `at`, with `CODE_PADDING` zeros behind it. */
  beginAns(at: number, length: number, elements: number, nnz: number, model: AnsModel): Verdict {
    const { width, rows, columns } = model;
    return VERDICTS[this.calls.ans_decode_begin(at, length, elements, nnz, width, rows, columns)]!;
  }

  /** Decodes about `limit` more symbols or entries of the section that was begun. */
  runDecoder(ans: boolean, limit: number): Verdict {
    return VERDICTS[ans ? this.calls.ans_decode_run(limit) : this.calls.golomb_decode_run(limit)]!;
  }
}

/** The next address from `at` on that is a multiple of 16. */
export function aligned(at: number): number {
  return Math.ceil(at / 16) * 16;
}

/** What `ans_encode` answers in place of an address. */
const TOO_MANY_SYMBOLS = 0;
const MEMORY_REFUSED = 1;

export function outOfMemory(bytes: number, cause?: unknown): CodecError {
  const text = `A tensor needs ${bytes} bytes of memory at once, or more, which this machine does not give. Free memory, or use fewer threads.`;
  return new CodecError('OUT_OF_MEMORY', text, { bytes, limit: MAX_KERNEL_BYTES }, { cause });
}
