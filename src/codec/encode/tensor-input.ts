import { dtypeBytes, isDtype } from '../../tensors/dtype.ts';
import type { FileCache, KnownFile } from '../file-cache.ts';
import { aligned, ELEMENT_PADDING, KERNEL_DTYPES, type Kernel, type KernelDtype } from '../kernel/kernel.ts';
import { SUM_BLOCK } from '../limits.ts';
import type { Piece } from './passes.ts';
import { SAMPLE_RUN, SAMPLE_STRIDE, type SampledElements } from './split.ts';

/** Where the elements of a tensor lie. */
export interface TensorPlace extends KnownFile {
  /** Of the first byte, from the start of the file. */
  readonly offset: number;
  readonly byteLength: number;
  readonly dtype: string;
}

/** Two tensors of one shape whose difference is taken; without a base, of zeros. */
export interface TensorPair {
  readonly base: TensorPlace | null;
  readonly tune: TensorPlace;
  readonly elements: number;
}

/** Stored bytes of a tensor pair up to which it is read once and kept for all passes; beyond, each pass reads again. 64 MiB. */
export const MAX_KEPT_BYTES = 64 * 2 ** 20;

/** Elements of a piece of a tensor that is not kept: 8 MiB at most in either checkpoint, and whole blocks of sums. */
export const PIECE_ELEMENTS = 16 * SUM_BLOCK;

/** Brings the stored elements of a pair into a kernel's memory, as often as the passes need them. Blocks its thread. */
export class TensorInput implements SampledElements {
  readonly #kernel: Kernel;
  readonly #files: FileCache;
  readonly #pair: TensorPair;
  readonly #size: { readonly base: number; readonly tune: number };
  readonly #at: { readonly base: number; readonly tune: number };
  readonly #step: number;
  #loaded = false;
  /** The first free address behind the elements. */
  readonly end: number;

  constructor(components: { kernel: Kernel; files: FileCache }, pair: TensorPair) {
    this.#kernel = components.kernel;
    this.#files = components.files;
    this.#pair = pair;
    this.#size = { base: pair.base === null ? 0 : sizeOf(pair.base), tune: sizeOf(pair.tune) };
    const stored = (this.#size.base + this.#size.tune) * pair.elements;
    this.#step = stored <= MAX_KEPT_BYTES ? pair.elements : Math.min(pair.elements, PIECE_ELEMENTS);
    const base = this.#kernel.heap;
    const tune = aligned(base + this.#size.base * this.#step + ELEMENT_PADDING);
    this.#at = { base, tune };
    this.end = aligned(tune + this.#size.tune * this.#step + ELEMENT_PADDING);
    this.#kernel.reach(this.end);
  }

  *pieces(): Generator<Piece> {
    const { elements } = this.#pair;
    for (let from = 0; from < elements; from += this.#step) {
      yield this.#load(from, Math.min(this.#step, elements - from));
    }
  }

  /** Runs of elements from everywhere (`SAMPLE_RUN`), the same ones however the tensor is read. */
  *sample(): Generator<Piece> {
    const { elements } = this.#pair;
    for (let from = 0; from < elements; from += SAMPLE_STRIDE) {
      const count = Math.min(SAMPLE_RUN, elements - from);
      if (this.#step < elements) {
        yield this.#load(from, count);
        continue;
      }
      const whole = this.#load(0, elements);
      const base = whole.base + from * this.#size.base;
      yield { ...whole, base, tune: whole.tune + from * this.#size.tune, from, count };
    }
  }

  #load(from: number, count: number): Piece {
    const { base, tune, elements } = this.#pair;
    if (!this.#loaded) {
      if (base !== null) this.#read(base, this.#size.base, from, count, this.#at.base);
      this.#read(tune, this.#size.tune, from, count, this.#at.tune);
      this.#loaded = count === elements;
    }
    return {
      base: this.#at.base,
      baseDtype: base === null ? 0 : codeOf(base),
      tune: this.#at.tune,
      tuneDtype: codeOf(tune),
      from,
      count,
    };
  }

  #read(place: TensorPlace, size: number, from: number, count: number, at: number): void {
    this.#files.read(place, this.#kernel.u8(at, count * size), place.offset + from * size);
  }
}

function sizeOf({ dtype }: TensorPlace): number {
  return isDtype(dtype) ? dtypeBytes(dtype) : 0;
}

function codeOf({ dtype }: TensorPlace): number {
  return KERNEL_DTYPES[dtype as KernelDtype];
}
