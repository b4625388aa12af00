import type { AnsModel } from './types.ts';

/**
 * The model of coding 1 (docs/payload-format.md): integers only, so every machine computes the same frequencies.
 * Zeros between two entries follow a geometric law; its density is the tensor's, corrected by a level in steps of
 * 2^(1/4) of the odds. A level is the sum of one for the column, learnt from the rows above, and one for the row,
 * learnt from its own entries so far.
 */

/** Frequencies of one table sum to 2^15. */
export const FREQUENCY_BITS = 15;
export const FREQUENCY_TOTAL = 1 << FREQUENCY_BITS;
/** The coder's state lies in [2^23, 2^31) between symbols; it starts, for the encoder, and ends at 2^23. */
export const STATE_LOW = 2 ** 23;
/** Levels reach from -32 to 32: odds from 1/256 to 256 times the tensor's. */
export const MAX_LEVEL = 32;
/** Longest gap that one symbol holds; longer ones take several. Bounds a table to about 2.5 KiB. */
export const MAX_GAP = 256;
/** Elements of a segment at a row's start, where rows are modelled; later ones may be a quarter of what precedes. */
export const ROW_SEGMENT = 32;
/** Elements of a segment of a tensor without rows: only bounds the work between two checks. */
export const FLAT_SEGMENT = 65_536;
/** At most: one for each level, 5 up to column 128, and one for each growth of the place by a quarter from there. */
const MAX_SEGMENTS = 128;
/** Elements of a modelled row: 16 keep the work per row in proportion, 2^18 bound the memory of the columns. */
export const MIN_WIDTH = 16;
export const MAX_WIDTH = 262_144;
/** Rows that columns remember before their counts are halved. Also keeps the sums below 2^32. */
const MEMORY_ROWS = 65_536;
/** Densities in the estimates of rows and columns have 13 bits. */
const ONE = 8192;
const LOOKUP_SHIFT = 5;
/** round(2^16 · 2^(i/4)). */
const QUARTER_OCTAVE = [65_536n, 77_936n, 92_682n, 110_218n] as const;

/** Frequencies of one level: symbol s < `longest` is a gap of s zeros and then an entry, `longest` is that many zeros. */
export interface LevelTable {
  readonly longest: number;
  /** Sums of the frequencies of the symbols below; `longest` + 2 values, the last one 2^15. */
  readonly cumulative: Uint16Array;
  /** The symbol of slot 32·i. */
  readonly lookup: Uint16Array;
  /** Density in units of 2^-13. */
  readonly density: number;
}

/** The tables of one section, each built when it is first needed. */
export class Levels {
  readonly #tables: (LevelTable | undefined)[] = [];
  readonly #nnz: bigint;
  readonly #zeros: bigint;

  constructor(elements: number, nnz: number) {
    this.#nnz = BigInt(nnz);
    this.#zeros = BigInt(elements - nnz);
  }

  get(level: number): LevelTable {
    const known = this.#tables[level + MAX_LEVEL];
    if (known) return known;
    const table = levelTable(this.#density(level));
    this.#tables[level + MAX_LEVEL] = table;
    return table;
  }

  /** In units of 2^-24, at least 2^-14 away from 0 and 1 so that every symbol keeps a frequency. */
  #density(level: number): number {
    const steps = Math.abs(level);
    const factor = QUARTER_OCTAVE[steps & 3]! << BigInt(steps >>> 2);
    const entries = this.#nnz * (level < 0 ? 65_536n : factor);
    const zeros = this.#zeros * (level < 0 ? factor : 65_536n);
    const density = Number((entries << 24n) / (entries + zeros));
    return Math.min(2 ** 24 - 1024, Math.max(1024, density));
  }
}

function levelTable(density: number): LevelTable {
  const longest = Math.min(MAX_GAP, Math.floor((4 * 2 ** 24) / density));
  const cumulative = new Uint16Array(longest + 2);
  let survival = 2 ** 28; // the probability of at least g zeros
  for (let g = 0; g <= longest; g++) {
    // Products stay below 2^53, so these are exact integers. The g in front gives every symbol a frequency.
    cumulative[g] = g + Math.floor(((2 ** 28 - survival) * (FREQUENCY_TOTAL - 1 - longest)) / 2 ** 28);
    survival = Math.floor((survival * (2 ** 24 - density)) / 2 ** 24);
  }
  cumulative[longest + 1] = FREQUENCY_TOTAL;
  const lookup = new Uint16Array(FREQUENCY_TOTAL >>> LOOKUP_SHIFT);
  for (let i = 0, symbol = 0; i < lookup.length; i++) {
    while (cumulative[symbol + 1]! <= i << LOOKUP_SHIFT) symbol++;
    lookup[i] = symbol;
  }
  return { longest, cumulative, lookup, density: Math.max(1, density >>> 11) };
}

/** 256·log2(v) for 1 <= v < 2^32, linear between powers of two; off by less than a tenth of an octave. */
export function log256(v: number): number {
  const exponent = 31 - Math.clz32(v);
  const fraction = exponent >= 8 ? v >>> (exponent - 8) : v << (8 - exponent);
  return 256 * exponent + (fraction & 255);
}

/** The level that `entries` of `total` stand for where `expected` / 2^13 were expected, both beside a prior. */
function levelOf(entries: number, total: number, expected: number, strength: number, density: number): number {
  const plus = strength * density;
  const minus = strength * (ONE - density);
  const seen = log256(entries * ONE + plus) - log256((total - entries) * ONE + minus);
  const meant = log256(expected + plus) - log256(total * ONE - expected + minus);
  return clampLevel((seen - meant + 32) >> 6);
}

function clampLevel(level: number): number {
  return Math.max(-MAX_LEVEL, Math.min(MAX_LEVEL, level));
}

/**
 * Walks a tensor row by row, and each row in segments of columns that share a level. Encoder and decoder tell it the
 * entries they met, and get the tables for what follows.
 */
export class RowScan {
  readonly levels: Levels;
  /** Position of the row's first element, and its elements. */
  rowStart = 0;
  /** Segments of the row; segment s is columns[starts[s]] up to columns[starts[s + 1] - 1]. */
  segments = 0;
  readonly starts: Uint32Array;
  /** The order of the columns; null where it is ascending and the tensor has no rows. */
  readonly columns: Uint32Array | null;
  /** True where the order of the columns has changed since the row before, and in the first row. */
  reordered = true;
  /** Entries met per column, to be counted by the caller; null where columns are not modelled. */
  readonly counts: Uint32Array | null;

  readonly #elements: number;
  readonly #width: number;
  readonly #rowStrength: number;
  readonly #columnStrength: number;
  readonly #segmentLevels: Int8Array;
  readonly #columnLevels: Int8Array;
  readonly #density: number;
  #row = -1;
  #memory = 0;
  #nextUpdate = 1;
  #entries = 0;
  #seen = 0;
  #expected = 0;
  #rowLevel = 0;

  constructor(elements: number, nnz: number, { width, rows, columns }: AnsModel) {
    this.levels = new Levels(elements, nnz);
    this.#density = this.levels.get(0).density;
    this.#elements = elements;
    this.#width = width === 0 ? FLAT_SEGMENT : width;
    this.#rowStrength = rows === 0 ? 0 : 2 ** rows;
    this.#columnStrength = columns === 0 ? 0 : 2 ** columns;
    const most = width === 0 ? 1 : Math.min(width, MAX_SEGMENTS);
    this.starts = new Uint32Array(most + 1);
    this.#segmentLevels = new Int8Array(most);
    this.columns = width === 0 ? null : Uint32Array.from({ length: width }, (_, i) => i);
    this.counts = columns === 0 ? null : new Uint32Array(width);
    this.#columnLevels = new Int8Array(columns === 0 ? 0 : width);
    if (width !== 0) this.#cut();
  }

  /** Goes to the next row; false after the last one. */
  nextRow(): boolean {
    this.#row++;
    this.rowStart = this.#row * this.#width;
    if (this.rowStart >= this.#elements) return false;
    if (this.columns === null) {
      this.segments = 1;
      this.starts[1] = Math.min(this.#width, this.#elements - this.rowStart);
      return true;
    }
    this.#entries = 0;
    this.#seen = 0;
    this.#expected = 0;
    this.#rowLevel = 0;
    this.reordered = this.#row === 0;
    if (this.counts !== null && this.#row > 0) {
      this.#memory++;
      if (this.#row === this.#nextUpdate) {
        this.#sortColumns();
        this.reordered = true;
        this.#nextUpdate += Math.max(1, this.#nextUpdate >>> 3);
      }
    }
    return true;
  }

  /** The table for a segment of this row, given all that was reported before it. */
  table(segment: number): LevelTable {
    return this.levels.get(clampLevel(this.#segmentLevels[segment]! + this.#rowLevel));
  }

  /** Reports the entries of a segment. */
  report(segment: number, entries: number): void {
    if (this.#rowStrength === 0) return;
    const length = this.starts[segment + 1]! - this.starts[segment]!;
    this.#entries += entries;
    this.#seen += length;
    this.#expected += length * this.levels.get(this.#segmentLevels[segment]!).density;
    this.#rowLevel = levelOf(this.#entries, this.#seen, this.#expected, this.#rowStrength, this.#density);
  }

  /** Brings the columns' levels up to date and orders the columns by level, then by position. */
  #sortColumns(): void {
    const counts = this.counts!;
    const columns = this.columns!;
    const levels = this.#columnLevels;
    while (this.#memory > MEMORY_ROWS) {
      this.#memory >>>= 1;
      for (let i = 0; i < counts.length; i++) counts[i]! >>>= 1;
    }
    const rows = this.#memory;
    const expected = rows * this.#density;
    const places = new Uint32Array(2 * MAX_LEVEL + 2);
    for (let i = 0; i < counts.length; i++) {
      const level = levelOf(counts[i]!, rows, expected, this.#columnStrength, this.#density);
      levels[i] = level;
      places[level + MAX_LEVEL + 1]!++;
    }
    for (let i = 1; i < places.length; i++) places[i]! += places[i - 1]!;
    for (let i = 0; i < counts.length; i++) columns[places[levels[i]! + MAX_LEVEL]!++] = i;
    this.#cut();
  }

  /**
   * Cuts the ordered columns where the level changes. Where rows have levels also into pieces, after each of which the
   * row's level is brought up to date: often at first, then ever more rarely, as it is known better.
   */
  #cut(): void {
    const columns = this.columns!;
    let segments = 0;
    for (let at = 0; at < columns.length; ) {
      const level = this.#levelAt(at);
      const longest = this.#rowStrength === 0 ? this.#width : Math.max(ROW_SEGMENT, at >>> 2);
      let end = at + 1;
      while (end < columns.length && end - at < longest && this.#levelAt(end) === level) end++;
      this.#segmentLevels[segments++] = level;
      this.starts[segments] = end;
      at = end;
    }
    this.segments = segments;
  }

  #levelAt(place: number): number {
    return this.counts === null ? 0 : this.#columnLevels[this.columns![place]!]!;
  }
}
