/** Sizes of ternary codes (docs/algorithms.md B.3). `p` is the density of non-zero entries, `d` the entries. */

/** H(p) = -(1-p) log2(1-p) - p log2(p/2): bits per entry with uniform signs; 0 at p = 0. */
export function entropyBitsPerEntry(p: number): number {
  const zeros = p < 1 ? -(1 - p) * Math.log2(1 - p) : 0;
  const signs = p > 0 ? -p * Math.log2(p / 2) : 0;
  return zeros + signs;
}

/** H(p) · d + 16 bits: the entropy bound of one density, with a 16-bit scale as the literature counts it. */
export function entropyBoundBits(p: number, d: number): number {
  return entropyBitsPerEntry(p) * d + 16;
}

/** Golomb parameter M for geometric gaps: max(1, ceil(-ln(2-p) / ln(1-p))); 1 where p is 0 or 1. */
export function golombParameter(p: number): number {
  if (p <= 0 || p >= 1) return 1;
  return Math.max(1, Math.ceil(-Math.log(2 - p) / Math.log1p(-p)));
}

/** Bits of one gap under Golomb parameter `m`: unary quotient, terminator, truncated binary remainder. */
export function golombGapBits(gap: number, m: number): number {
  const width = remainderWidth(m);
  const short = 2 ** width - m;
  const quotient = Math.floor(gap / m);
  return quotient + 1 + (gap - quotient * m < short ? Math.max(0, width - 1) : width);
}

/** B = ceil(log2 m) without rounding: bits of the longer remainders. */
export function remainderWidth(m: number): number {
  return m === 1 ? 0 : 32 - Math.clz32(m - 1);
}

/** Fewest bits that one entry, sign included, can take under parameter `m`. */
export function minEntryBits(m: number): number {
  return 2 + (31 - Math.clz32(m));
}

/** Rice parameter b (Golomb with M = 2^b): max(0, 1 + floor(log2(ln(φ-1) / ln(1-p)))); 0 where p is 0 or 1. */
export function riceParameter(p: number): number {
  if (p <= 0 || p >= 1) return 0;
  const goldenRatio = (Math.sqrt(5) + 1) / 2;
  return Math.max(0, 1 + Math.floor(Math.log2(Math.log(goldenRatio - 1) / Math.log1p(-p))));
}

/** Bits of one gap under Rice parameter `b`. */
export function riceGapBits(gap: number, b: number): number {
  return Math.floor(gap / 2 ** b) + 1 + b;
}

/** Expected bits per gap, sign not included, of the Rice code with its own parameter; 0 at p = 0. */
export function expectedRiceGapBits(p: number): number {
  if (p <= 0) return 0;
  const b = riceParameter(p);
  return b + 1 / (1 - (1 - p) ** (2 ** b));
}

/** Bytes of the same vector stored as 16-bit floats, which published ratios are measured against. */
export function fp16Bytes(d: number): number {
  return 2 * d;
}
