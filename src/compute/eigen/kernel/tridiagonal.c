// Householder's reduction to tridiagonal form, T = H_m ... H_0 A H_0 ... H_m with H_k = I - tau_k v_k v_k^T
// (Golub, Van Loan: Matrix Computations, 8.3.1). The rank-2 update of a step is made in the pass over the matrix that
// also multiplies it by the next vector, so each step reads and writes the rest of the matrix once.
#include "kernel.h"

// A vector whose square sum is below this is taken as 0, beside a matrix whose largest entry is 1 to 2.
#define NEGLIGIBLE 0x1p-600

// Makes v_k of x[0..count): the entry that stays, its factor; x becomes v with v[0] = 1, or 0 where none is needed.
static double reflector(double *x, int count, double *tau) {
  double squares = 0;
  for (int i = 1; i < count; i++) squares += x[i] * x[i];
  double alpha = x[0];
  if (squares < NEGLIGIBLE) {
    for (int i = 0; i < count; i++) x[i] = 0;
    *tau = 0;
    return alpha;
  }
  double norm = __builtin_sqrt(alpha * alpha + squares);
  double beta = alpha > 0 ? -norm : norm;
  *tau = (beta - alpha) / beta;
  double scale = 1 / (alpha - beta);
  for (int i = 1; i < count; i++) x[i] *= scale;
  x[0] = 1;
  return beta;
}

// Rows `from` on, above the diagonal: A <- A - u w^T - w u^T, then p <- A v. The pads behind the rows hold 0.
static void update_multiply(double *a, int stride, int n, int from, const double *u, const double *w,
                            const double *v, double *p) {
  for (int i = from; i < n; i++) p[i] = 0;
  for (int i = from; i < n; i += 2) {
    double *row = a + (long)i * stride, *next = row + stride;
    double u0 = u[i], w0 = w[i], v0 = v[i];
    double corner = row[i] - 2 * u0 * w0;
    row[i] = corner;
    if (i + 1 == n) {
      p[i] += corner * v0;
      return;
    }
    double u1 = u[i + 1], w1 = w[i + 1], v1 = v[i + 1];
    double side = row[i + 1] - (u0 * w1 + w0 * u1);
    double last = next[i + 1] - 2 * u1 * w1;
    row[i + 1] = side;
    next[i + 1] = last;
    pair sum0 = {corner * v0, side * v1}, sum1 = {side * v0, last * v1};
    for (int j = i + 2; j < n; j += 2) {
      pair uj = LOAD(u + j), wj = LOAD(w + j), vj = LOAD(v + j);
      pair x = LOAD(row + j) - (BOTH(u0) * wj + BOTH(w0) * uj);
      pair y = LOAD(next + j) - (BOTH(u1) * wj + BOTH(w1) * uj);
      STORE(row + j, x);
      STORE(next + j, y);
      sum0 += x * vj;
      sum1 += y * vj;
      STORE(p + j, LOAD(p + j) + (BOTH(v0) * x + BOTH(v1) * y));
    }
    p[i] += sum0[0] + sum0[1];
    p[i + 1] += sum1[0] + sum1[1];
  }
}

// a: n rows of `stride` >= n + 1 entries, of which those from the diagonal to n are read; what is behind them is 0.
// Row k then holds v_k behind the diagonal and 0 on it. d, e, tau: n entries; w, p: `stride` entries, all 0.
EXPORT("tridiagonalise")
void tridiagonalise(double *a, int stride, int n, double *d, double *e, double *tau, double *w, double *p) {
  const double *u = w; // No update is pending: w is 0.
  for (int k = 0; k < n; k++) {
    double *row = a + (long)k * stride;
    double uk = u[k], wk = w[k];
    for (int j = k; j < n; j++) row[j] -= uk * w[j] + wk * u[j];
    d[k] = row[k];
    row[k] = 0;
    e[k] = tau[k] = 0;
    if (k >= n - 2) {
      if (k == n - 2) e[k] = row[k + 1];
      continue;
    }
    e[k] = reflector(row + k + 1, n - k - 1, tau + k);
    update_multiply(a, stride, n, k + 1, u, w, row, p);
    double dot = 0;
    for (int i = k + 1; i < n; i++) dot += p[i] * row[i];
    double share = tau[k] * tau[k] * dot / 2;
    for (int i = k + 1; i < n; i++) w[i] = tau[k] * p[i] - share * row[i];
    u = row;
  }
  // The last two rows: v_k of order 1 is none.
  if (n >= 2) a[(long)(n - 2) * stride + n - 1] = 0;
}
