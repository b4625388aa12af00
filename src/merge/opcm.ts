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
  /** rho: singular values that float32 data can tell from 0. */
  readonly rank: number;
  readonly nuclearNorm: number;
  readonly sigmaMax: number;
}

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
  if (nuclearNorm > 0) {
    if (alpha >= 1) {
      splitRank = rank;
    } else {
      // The 0-based index of the first value at which the running share exceeds alpha.
      let running = sigma[0]!;
      while (splitRank < sigma.length - 1 && !(running / nuclearNorm > alpha)) {
        splitRank++;
        running += sigma[splitRank]!;
      }
    }
  }
  return { splitRank, rank, nuclearNorm, sigmaMax };
}

export interface Removal {
  /** k x k, row-major: R, with C = T - (U R U^T) S. */
  readonly coefficients: Float64Array;
  /**
   * What <S, C> comes to: 0 for a matrix of full numerical rank, and the sum over i >= rho of sigma_i * C_ii
   * otherwise, because the rule leaves those entries alone.
   */
  readonly innerProduct: number;
}

/**
 * The coefficients that the rule removes from an update T.
 *
 * The tail of `lite` runs to the numerical rank, as that of `ref` does: beyond it the directions are rounding noise,
 * and dividing by their norm would make the result depend on the machine.
 *
 * @param b - k x k, row-major: U^T (T S^T) U, so that u_i^T T v_j = b_ij / sigma_j
 * @param values - eigenvalues of S S^T, descending
 */
export function removalOf(b: Float64Array, values: Float64Array, spectrum: Spectrum, variant: OpcmVariant): Removal {
  const k = values.length;
  const { splitRank, rank } = spectrum;
  const coefficients = new Float64Array(k * k);
  // With alpha just below 1 the split can lie beyond the numerical rank; nothing there is divided by.
  const head = Math.min(splitRank, rank);
  for (let i = 0; i < head; i++) {
    for (let j = 0; j < head; j++) coefficients[i * k + j] = b[i * k + j]! / values[j]!;
  }
  if (variant === 'ref') {
    for (let i = head; i < rank; i++) coefficients[i * k + i] = b[i * k + i]! / values[i]!;
  } else {
    let along = 0;
    let squares = 0;
    for (let i = head; i < rank; i++) {
      along += b[i * k + i]!;
      squares += values[i]!;
    }
    for (let i = head; i < rank; i++) coefficients[i * k + i] = along / squares;
  }
  let innerProduct = 0;
  for (let i = rank; i < k; i++) innerProduct += b[i * k + i]!;
  return { coefficients, innerProduct };
}
