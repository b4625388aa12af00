import { describe, expect, it } from 'vitest';
import { ComputeError, eigenSymmetric } from '../../../src/compute/index.ts';
import { gaussian, randomOrthogonal } from './random.ts';

/** Largest |G v - lambda v| and largest |V V^T - I|, both relative. */
function defects(g: Float64Array, n: number): { residual: number; orthogonality: number } {
  const { values, vectors } = eigenSymmetric(g, n);
  const norm = Math.sqrt(g.reduce((sum, x) => sum + x * x, 0)) || 1;
  let residual = 0;
  let orthogonality = 0;
  for (let i = 0; i < n; i++) {
    for (let row = 0; row < n; row++) {
      let product = 0;
      let dot = 0;
      for (let j = 0; j < n; j++) {
        product += g[row * n + j]! * vectors[i * n + j]!;
        dot += vectors[i * n + j]! * vectors[row * n + j]!;
      }
      residual = Math.max(residual, Math.abs(product - values[i]! * vectors[i * n + row]!) / norm);
      orthogonality = Math.max(orthogonality, Math.abs(dot - (i === row ? 1 : 0)));
    }
  }
  return { residual, orthogonality };
}

function gram(x: Float64Array, rows: number, columns: number): Float64Array {
  const g = new Float64Array(rows * rows);
  for (let i = 0; i < rows; i++) {
    for (let j = 0; j < rows; j++) {
      let sum = 0;
      for (let k = 0; k < columns; k++) sum += x[i * columns + k]! * x[j * columns + k]!;
      g[i * rows + j] = sum;
    }
  }
  return g;
}

function withSpectrum(spectrum: number[], seed: number): Float64Array {
  const n = spectrum.length;
  const q = randomOrthogonal(n, seed);
  const g = new Float64Array(n * n);
  for (let i = 0; i < n; i++) {
    for (let r = 0; r < n; r++) {
      for (let c = 0; c < n; c++) g[r * n + c]! += spectrum[i]! * q[i * n + r]! * q[i * n + c]!;
    }
  }
  return g;
}

describe('the symmetric eigenproblem', () => {
  it('solves a Gram matrix to 1e-12, in descending order', () => {
    const n = 60;
    const g = gram(gaussian(n * 90, 1), n, 90);
    const { residual, orthogonality } = defects(g, n);
    expect(residual).toBeLessThan(1e-12);
    expect(orthogonality).toBeLessThan(1e-12);
    const { values } = eigenSymmetric(g, n);
    expect([...values]).toEqual([...values].sort((a, b) => b - a));
  });

  it('keeps the vectors of repeated eigenvalues orthogonal', () => {
    const g = withSpectrum([5, 5, 5, 2, 2, 1, 1, 1, 1], 2);
    const { residual, orthogonality } = defects(g, 9);
    expect(residual).toBeLessThan(1e-12);
    expect(orthogonality).toBeLessThan(1e-12);
    expect([...eigenSymmetric(g, 9).values].map((v) => Math.round(v * 1e9) / 1e9)).toEqual([5, 5, 5, 2, 2, 1, 1, 1, 1]);
  });

  it('keeps small eigenvalues of an ill-conditioned matrix and sets what is only rounding to 0', () => {
    const g = withSpectrum([1, 1e-3, 1e-8, 1e-12, 0, 0], 3);
    const { values } = eigenSymmetric(g, 6);
    expect(values[2]! / 1e-8).toBeCloseTo(1, 6);
    expect(values[3]! / 1e-12).toBeCloseTo(1, 2);
    expect(values[4]).toBe(0);
    expect(values[5]).toBe(0);
    expect(defects(g, 6).residual).toBeLessThan(1e-12);
  });

  it('handles the zero matrix and a single entry', () => {
    expect(defects(new Float64Array(16), 4)).toEqual({ residual: 0, orthogonality: 0 });
    expect([...eigenSymmetric(new Float64Array(16), 4).values]).toEqual([0, 0, 0, 0]);
    const one = eigenSymmetric(Float64Array.of(7), 1);
    expect(one.values[0]).toBe(7);
    expect(Math.abs(one.vectors[0]!)).toBe(1);
  });

  it.each([1e-80, 1e60])('is as exact for entries around %s', (size) => {
    const g = withSpectrum([3, 2, 1], 4).map((x) => x * size);
    expect(eigenSymmetric(g, 3).values[2]! / size).toBeCloseTo(1, 12);
    expect(defects(g, 3).residual).toBeLessThan(1e-12);
  });

  it('refuses NaN, infinity and a wrong length', () => {
    for (const bad of [Number.NaN, Number.POSITIVE_INFINITY]) {
      expect(() => eigenSymmetric(Float64Array.of(1, 0, 0, bad), 2)).toThrow(
        expect.objectContaining({ code: 'NON_FINITE' }),
      );
    }
    expect(() => eigenSymmetric(new Float64Array(3), 2)).toThrow(ComputeError);
  });
});
