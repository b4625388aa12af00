// The implicit QL and QR iterations on a tridiagonal matrix with Wilkinson's shift (EISPACK's imtql2, LAPACK's dsteqr).
// Its rotations are written down; vectors.c makes of them the vectors that are wanted.
#include "kernel.h"

enum { NO_CONVERGENCE = 1, NO_MEMORY = 2 };

#define EPSILON 0x1p-52
#define ITERATIONS_MAX 30 // an eigenvalue, as in LAPACK; 1.7 are usual
#define PAGE 65536ull
#define PAGES_MAX 65535ull

static double size(double x) { return __builtin_fabs(x); }

// c f + s g = r, c g = s f, c^2 + s^2 = 1.
static rotation rotate(double f, double g, double *r) {
  if (g == 0) {
    *r = f;
    return (rotation){1, 0};
  }
  double scale = 1;
  // Squares of these would lose bits.
  if (size(f) < 0x1p-400 && size(g) < 0x1p-400) scale = 0x1p600;
  f *= scale;
  g *= scale;
  double norm = __builtin_sqrt(f * f + g * g);
  *r = norm / scale;
  return (rotation){f / norm, g / norm};
}

// What is subtracted: the eigenvalue of [[p, off], [off, next]] that is closer to p.
static double shift(double p, double next, double off) {
  double g = (next - p) / (2 * off);
  double r = __builtin_sqrt(g * g + 1);
  return p - off / (g + (g < 0 ? -r : r));
}

// A QL sweep over the rows lo to hi, from the highest down; `log` is where the rotation of the rows lo, lo + 1 goes.
static void sweep_down(double *d, double *e, int lo, int hi, rotation *log) {
  double g = d[hi] - shift(d[lo], d[lo + 1], e[lo]);
  double c = 1, s = 1, p = 0;
  for (int i = hi - 1; i >= lo; i--) {
    double f = s * e[i], b = c * e[i], r;
    rotation turn = rotate(g, f, &r);
    c = turn.c;
    s = turn.s;
    if (i < hi - 1) e[i + 1] = r;
    g = d[i + 1] - p;
    r = (d[i] - g) * s + 2 * c * b;
    p = s * r;
    d[i + 1] = g + p;
    g = c * r - b;
    log[i - lo] = turn;
  }
  d[lo] -= p;
  e[lo] = g;
}

// A QR sweep, from the lowest row up: the same with the rows in reverse order, so s has the other sign.
static void sweep_up(double *d, double *e, int lo, int hi, rotation *log) {
  double g = d[lo] - shift(d[hi], d[hi - 1], e[hi - 1]);
  double c = 1, s = 1, p = 0;
  for (int i = lo; i < hi; i++) {
    double f = s * e[i], b = c * e[i], r;
    rotation turn = rotate(g, f, &r);
    c = turn.c;
    s = turn.s;
    if (i > lo) e[i - 1] = r;
    g = d[i] - p;
    r = (d[i + 1] - g) * s + 2 * c * b;
    p = s * r;
    d[i] = g + p;
    g = c * r - b;
    log[i - lo] = (rotation){c, -s};
  }
  d[hi] -= p;
  e[hi - 1] = g;
}

static rotation *end; // Behind the last sweep.

// Makes memory reach `bytes` beyond the end of the log; 0 when the machine refuses.
static int reach(unsigned bytes) {
  unsigned long long need = (unsigned long long)(unsigned long)end + bytes;
  unsigned long pages = __builtin_wasm_memory_size(0);
  if (need <= (unsigned long long)pages * PAGE) return 1;
  if (need > PAGES_MAX * PAGE) return 0;
  unsigned long missing = (need + PAGE - 1) / PAGE - pages;
  // Sixteenths on top, so that not every sweep asks.
  if (__builtin_wasm_memory_grow(0, missing + pages / 16) != -1ul) return 1;
  return __builtin_wasm_memory_grow(0, missing) != -1ul;
}

// d becomes the eigenvalues, in no order. The log starts at `log` and is the last thing in memory, which grows for it.
EXPORT("iterate")
int iterate(int n, double *d, double *e, rotation *log) {
  double largest = 0;
  for (int i = 0; i < n; i++) {
    if (size(d[i]) > largest) largest = size(d[i]);
    if (size(e[i]) > largest) largest = size(e[i]);
  }
  // Leaving an entry of this size out moves no eigenvalue by more than rounding does.
  double negligible = EPSILON * largest;
  long left = (long)ITERATIONS_MAX * n;
  int lo = 0, decided = -1, upwards = 0;
  end = log;
  while (lo < n) {
    int hi = lo;
    while (hi < n - 1 && size(e[hi]) > negligible) hi++;
    if (hi == lo) {
      lo++;
      continue;
    }
    // One direction for a block and its parts: eigenvalues are split off where the entries are smaller.
    if (lo > decided) {
      decided = hi;
      upwards = size(d[hi]) < size(d[lo]);
    }
    if (left-- == 0) return NO_CONVERGENCE;
    int count = hi - lo;
    if (!reach((count + 1) * sizeof(rotation))) return NO_MEMORY;
    (upwards ? sweep_up : sweep_down)(d, e, lo, hi, end);
    end += count;
    *(sweep *)end++ = (sweep){lo, count, upwards, 0};
  }
  return 0;
}

// For each row the place behind the last sweep that turns it, or 0: what comes later leaves its unit vector alone.
EXPORT("last_turns")
void last_turns(const rotation *log, int n, const rotation **last) {
  for (int i = 0; i < n; i++) last[i] = 0;
  int missing = n;
  for (const rotation *at = end; at > log && missing > 0;) {
    const sweep *s = (const sweep *)(at - 1);
    for (int i = s->first; i <= s->first + s->count; i++) {
      if (last[i]) continue;
      last[i] = at;
      missing--;
    }
    at -= s->count + 1;
  }
}
