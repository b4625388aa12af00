/**
 * The OPCM rule on the eigenvalues of the accumulated sum (docs/algorithms.md, C.3 and C.4): split rank, numerical
 * rank, and which coefficients of an update are removed. Pure functions over float64; no matrix product is done here.
 */

/** `ref` is the rule as published; `lite` replaces the tail's diagonal by one scalar projection. */
export const OPCM_VARIANTS = ['ref', 'lite'] as const;
export type OpcmVariant = (typeof OPCM_VARIANTS)[number];

export interface OpcmRule {
  readonly method?: 'opcm';
  readonly variant: OpcmVariant;
  /** Share of the nuclear norm that the protected head holds: any number >= 0; 0 protects nothing, >= 1 everything. */
  readonly alpha: number;
}

/** What the singular values of one tensor's sum say. */
export interface Spectrum {
  /** r: leading singular values whose sum stays within alpha of the nuclear norm. */
  readonly splitRank: number;
  /**
   * The split rank that another machine's rounding may give: where the running share on one side of the split is within
   * SPLIT_TOLERANCE of alpha. Else null.
   */
  readonly splitNeighbour: number | null;
  /** rho: singular values that float32 data can tell from 0. */
  readonly rank: number;
  readonly nuclearNorm: number;
  readonly sigmaMax: number;
}

/** How near to alpha a running share is a tie: far above what eigensolvers differ by, far below what a tamperer gains. */
export const SPLIT_TOLERANCE = 1e-9;

/** One unit of float32 rounding, the unit of the numerical rank's threshold. */
const FLOAT32_EPSILON = 2 ** -23;

/**
 * @param values - eigenvalues of S S^T, descending, none negative
 * @param longSide - max(m, n) of S
 */
export function spectrumOf(values: Float64Array, longSide: number, alpha: number): Spectrum {
  const sigma = values.map(Math.sqrt);
  const sigmaMax = sigma[0] ?? 0;
  let nuclearNorm = 0;
  for (const value of sigma) nuclearNorm += value;
  const threshold = sigmaMax * longSide * FLOAT32_EPSILON;
  let rank = 0;
  while (rank < sigma.length && sigma[rank]! > threshold) rank++;

  let splitRank = 0;
  let splitNeighbour: number | null = null;
  if (nuclearNorm > 0 && alpha >= 1) splitRank = rank;
  else if (nuclearNorm > 0) {
    // The 0-based index of the first value at which the running share exceeds alpha.
    let before = 0;
    let running = sigma[0]!;
    while (splitRank < sigma.length - 1 && !(running / nuclearNorm > alpha)) {
      splitRank++;
      before = running;
      running += sigma[splitRank]!;
    }
    const near = (share: number) => Math.abs(share / nuclearNorm - alpha) <= SPLIT_TOLERANCE;
    if (near(running) && splitRank < sigma.length - 1) splitNeighbour = splitRank + 1;
    else if (near(before) && splitRank > 0) splitNeighbour = splitRank - 1;
  }
  return { splitRank, splitNeighbour, rank, nuclearNorm, sigmaMax };
}

/** Leading directions of which the whole block is removed: with alpha just below 1 the split can lie beyond the rank. */
export function headOf({ splitRank, rank }: Spectrum): number {
  return Math.min(splitRank, rank);
}

/** Directions that the rule needs the vectors of: `ref` removes the tail's diagonal, `lite` one multiple of the tail. */
export function directionsOf(spectrum: Spectrum, variant: OpcmVariant): number {
  return variant === 'ref' ? spectrum.rank : headOf(spectrum);
}

/**
 * R on the head, where C = T - (U R U^T) S.
 *
 * @param block - head x head, row-major: u_i^T (T S^T) u_j
 * @param values - eigenvalues of S S^T, descending
 */
export function headCoefficients(block: Float32Array | Float64Array, values: Float64Array, head: number): Float64Array {
  const coefficients = new Float64Array(head * head);
  for (let i = 0; i < head; i++) {
    for (let j = 0; j < head; j++) coefficients[i * head + j] = block[i * head + j]! / values[j]!;
  }
  return coefficients;
}

/** R on the diagonal of the tail of `ref`: u_i^T (T S^T) u_i / sigma_i^2 for i from `head` on. */
export function tailCoefficients(diagonal: Float64Array, values: Float64Array, head: number): Float64Array {
  return diagonal.map((b, i) => b / values[head + i]!);
}

/**
 * `lite`: the multiple of S_tail that is removed, <S_tail, T> / |S_tail|^2.
 *
 * @param along - <S_tail, T>
 * @returns 0 where the head has all of the rank: what is left of S is rounding noise
 */
export function tailMultiple(along: number, values: Float64Array, spectrum: Spectrum): number {
  const head = headOf(spectrum);
  if (head >= spectrum.rank) return 0;
  let squares = 0;
  for (let i = head; i < values.length; i++) squares += values[i]!;
  return along / squares;
}
