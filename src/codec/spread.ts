/**
 * How far the counts of groups of `size` elements lie apart. Under a beta-binomial law their variance is
 * 1 + (size - 1) / (S + 1) times that of one common density, and S elements is the weight of the prior that suits it.
 * `gain` is the bits that knowing the groups' densities saves, less what learning them costs; 0 and no prior where
 * that is not positive. `strength` is the exponent of 2 of that weight, 1..15.
 */
export function spread(counts: Uint32Array, size: number, nnz: number): { strength: number; gain: number } {
  const none = { strength: 0, gain: 0 };
  const groups = counts.length;
  const mean = nnz / groups;
  const binomial = mean * (1 - mean / size);
  if (groups < 2 || binomial <= 0) return none;
  let squares = 0;
  for (let i = 0; i < groups; i++) squares += (counts[i]! - mean) * (counts[i]! - mean);
  const excess = squares / (groups - 1) / binomial - 1;
  if (excess <= 0) return none;
  // The divergence of a density from the mean is excess / 2 nats per group, to learn it takes half a log2(1 + excess).
  const learning = log256(Math.floor(Math.min(2 ** 31, 256 * (1 + excess)))) / 256 - 8;
  const gain = (groups * (excess / Math.LN2 - learning)) / 2;
  if (gain <= 0) return none;
  let strength = 1;
  // The nearest power of 2: S below 2^n · sqrt(2).
  while (strength < 15 && (size - 1) / excess - 1 >= 2 ** strength * Math.SQRT2) strength++;
  return { strength, gain };
}

/** 256·log2(v) for 1 <= v < 2^32, linear between powers of two; off by less than a tenth of an octave. */
export function log256(v: number): number {
  const exponent = 31 - Math.clz32(v);
  const fraction = exponent >= 8 ? v >>> (exponent - 8) : v << (8 - exponent);
  return 256 * exponent + (fraction & 255);
}
