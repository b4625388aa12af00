// Eigenvectors, WIDTH at a time: the rotations in reverse order on unit vectors, then the reflectors in reverse order.
// Vectors lie side by side in a group (row i holds entry i of each), groups one after another in a stripe.
#include "kernel.h"

#define WIDTH 8
#define PAIRS (WIDTH / 2)

// The last rotation made by QL is that of the lowest rows.
static void turn_upwards(double *x, const rotation *turns, int count) {
  pair low[PAIRS];
  for (int k = 0; k < PAIRS; k++) low[k] = LOAD(x + 2 * k);
  for (int i = 0; i < count; i++, x += WIDTH) {
    pair c = BOTH(turns[i].c), s = BOTH(turns[i].s);
    for (int k = 0; k < PAIRS; k++) {
      pair high = LOAD(x + WIDTH + 2 * k);
      STORE(x + 2 * k, c * low[k] + s * high);
      low[k] = c * high - s * low[k];
    }
  }
  for (int k = 0; k < PAIRS; k++) STORE(x + 2 * k, low[k]);
}

static void turn_downwards(double *x, const rotation *turns, int count) {
  pair high[PAIRS];
  x += WIDTH * (long)count;
  for (int k = 0; k < PAIRS; k++) high[k] = LOAD(x + 2 * k);
  for (int i = count - 1; i >= 0; i--, x -= WIDTH) {
    pair c = BOTH(turns[i].c), s = BOTH(turns[i].s);
    for (int k = 0; k < PAIRS; k++) {
      pair low = LOAD(x - WIDTH + 2 * k);
      STORE(x + 2 * k, c * high[k] - s * low);
      high[k] = c * low + s * high[k];
    }
  }
  for (int k = 0; k < PAIRS; k++) STORE(x + 2 * k, high[k]);
}

// x <- H_k H_k+1 x, with u = v_k, v = v_k+1 and v[0] = 0, from entry k + 1 on.
static void reflect_two(double *x, int count, const double *u, const double *v, double tau_u, double tau_v) {
  pair su[PAIRS], sv[PAIRS];
  double dot = 0;
  for (int k = 0; k < PAIRS; k++) su[k] = sv[k] = BOTH(0);
  double *at = x;
  for (int i = 0; i < count; i++, at += WIDTH) {
    pair ui = BOTH(u[i]), vi = BOTH(v[i]);
    dot += u[i] * v[i];
    for (int k = 0; k < PAIRS; k++) {
      pair xi = LOAD(at + 2 * k);
      su[k] += ui * xi;
      sv[k] += vi * xi;
    }
  }
  for (int k = 0; k < PAIRS; k++) {
    sv[k] *= BOTH(tau_v);
    su[k] = BOTH(tau_u) * (su[k] - BOTH(dot) * sv[k]);
  }
  at = x;
  for (int i = 0; i < count; i++, at += WIDTH) {
    pair ui = BOTH(u[i]), vi = BOTH(v[i]);
    for (int k = 0; k < PAIRS; k++) STORE(at + 2 * k, LOAD(at + 2 * k) - (ui * su[k] + vi * sv[k]));
  }
}

// The vectors that belong to the rows `columns` of the tridiagonal matrix, as `count` rows of `out`. The log is read
// from `end`, behind the last sweep that turns any of these rows. a, tau: of tridiagonalise. stripe: n rows of as many
// entries as `count` rounded up to WIDTH.
EXPORT("make_vectors")
void make_vectors(const double *a, int stride, int n, const double *tau, const rotation *log,
                          const rotation *end, const int *columns, int count, double *stripe, double *out) {
  int groups = (count + WIDTH - 1) / WIDTH;
  long group = (long)n * WIDTH;
  for (long i = 0; i < groups * group; i++) stripe[i] = 0;
  for (int k = 0; k < count; k++) stripe[k / WIDTH * group + (long)columns[k] * WIDTH + k % WIDTH] = 1;
  while (end > log) {
    const sweep *s = (const sweep *)--end;
    end -= s->count;
    for (int g = 0; g < groups; g++) {
      double *x = stripe + g * group + (long)s->first * WIDTH;
      (s->upwards ? turn_downwards : turn_upwards)(x, end, s->count);
    }
  }
  // Reflectors are 0 to n - 3; with an odd number of them the one at n - 2 is 0 and makes the pair whole.
  for (int k = n & 1 ? n - 3 : n - 4; k >= 0; k -= 2) {
    const double *u = a + (long)k * stride + k + 1, *v = u + stride;
    for (int g = 0; g < groups; g++) {
      reflect_two(stripe + g * group + (long)(k + 1) * WIDTH, n - k - 1, u, v, tau[k], tau[k + 1]);
    }
  }
  for (int k = 0; k < count; k++) {
    const double *x = stripe + k / WIDTH * group + k % WIDTH;
    for (int i = 0; i < n; i++) out[(long)k * n + i] = x[(long)i * WIDTH];
  }
}
