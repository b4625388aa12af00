/** Seeded pseudo-random matrices for tests. */

/** Uniform in [0, 1): mulberry32. */
export function uniform(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

export function gaussian(length: number, seed: number): Float64Array {
  const next = uniform(seed);
  return Float64Array.from({ length }, () => Math.sqrt(-2 * Math.log(1 - next())) * Math.cos(2 * Math.PI * next()));
}

export function gaussian32(length: number, seed: number, scale = 1): Float32Array<ArrayBuffer> {
  return Float32Array.from(gaussian(length, seed), (x) => x * scale);
}

/** n x n with orthonormal rows: Gram-Schmidt, twice. */
export function randomOrthogonal(n: number, seed: number): Float64Array {
  const q = gaussian(n * n, seed);
  for (let i = 0; i < n; i++) {
    const row = q.subarray(i * n, (i + 1) * n);
    for (let pass = 0; pass < 2; pass++) {
      for (let j = 0; j < i; j++) {
        const other = q.subarray(j * n, (j + 1) * n);
        const dot = row.reduce((sum, x, k) => sum + x * other[k]!, 0);
        for (let k = 0; k < n; k++) row[k]! -= dot * other[k]!;
      }
    }
    const norm = Math.sqrt(row.reduce((sum, x) => sum + x * x, 0));
    for (let k = 0; k < n; k++) row[k]! /= norm;
  }
  return q;
}
