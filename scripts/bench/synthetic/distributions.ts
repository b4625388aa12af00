/** Quantiles as tables, so that half a random word makes a sample without any arithmetic. */

/** Bins of equal probability; 16 bits of a random word choose one. */
export const QUANTILES = 65_536;

/** Step of the integration below: its error is far under the resolution of bf16. */
const STEP = 1e-4;

/** Standard normal quantiles at the middles of the bins; the outermost lie at ±4.3. */
export function normalQuantiles(): Float64Array {
  const half = QUANTILES / 2;
  const out = new Float64Array(QUANTILES);
  let x = 0;
  let mass = 0;
  let density = 1 / Math.sqrt(2 * Math.PI);
  for (let i = 0; i < half; i++) {
    const wanted = (i + 0.5) / QUANTILES;
    let gained = 0;
    while (mass < wanted) {
      const next = Math.exp(-0.5 * (x + STEP) ** 2) / Math.sqrt(2 * Math.PI);
      gained = (STEP * (density + next)) / 2;
      mass += gained;
      density = next;
      x += STEP;
    }
    const quantile = gained === 0 ? x : x - (STEP * (mass - wanted)) / gained;
    out[half + i] = quantile;
    out[half - 1 - i] = -quantile;
  }
  return out;
}

/** Quantile of Student's t with 4 degrees of freedom (closed form: Shaw 2006), scaled to variance 1. `p` in (0, 1). */
export function heavyQuantile(p: number): number {
  const alpha = 4 * p * (1 - p);
  const root = Math.sqrt(alpha);
  const quantile = 2 * Math.sqrt(Math.max(0, Math.cos(Math.acos(root) / 3) / root - 1));
  // The variance of t with n degrees of freedom is n / (n - 2).
  return (p < 0.5 ? -quantile : quantile) / Math.SQRT2;
}

/** `heavyQuantile` at the middles of the bins. The outermost bins hold the tails: draw those anew, exactly. */
export function heavyQuantiles(): Float64Array {
  return Float64Array.from({ length: QUANTILES }, (_, i) => heavyQuantile((i + 0.5) / QUANTILES));
}

/** A sample of the outermost bin on the side of `bin` (0 or the last), given a uniform number in (0, 1). */
export function heavyTail(bin: number, uniform: number): number {
  const tail = heavyQuantile(uniform / QUANTILES);
  return bin === 0 ? tail : -tail;
}
