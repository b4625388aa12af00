#include "select.h"

/*
 * Exact top-k without sorting and without holding the vector (docs/algorithms.md B.1): magnitudes of float32 order as
 * their bit patterns do. One pass counts the upper 15 magnitude bits, a second the lower 16 inside the one bucket that
 * holds the threshold; a third makes the masks. Each pass forms the differences anew from the stored elements, block by
 * block, so what is in flight stays in the first-level cache.
 */

static float stage_base[BLOCK + 16] __attribute__((aligned(16)));
float stage[BLOCK + 16] __attribute__((aligned(16)));

/* Neighbours often fall into one bucket: alternating between two counters keeps one addition from waiting for another. */
static u32 upper_even[1 << 15], upper_odd[1 << 15];
static u32 lower[1 << 16];

/* What a pass adds up; kernel.ts reads them afterwards. */
static double total, total_squares;

u32 size_of(u32 dtype) {
  switch (dtype) {
    case F32: return 4;
    case F64: return 8;
    case F16:
    case BF16: return 2;
    case NONE: return 0;
    default: return 1;
  }
}

/* Of two bfloat16 tensors, which most checkpoints are: without a second stage. */
static void difference_bf16(const u8 *base, const u8 *tune, u32 count) {
  for (u32 i = 0; i < count; i += 8) {
    v128_t a = wasm_v128_load(base + 2 * i), b = wasm_v128_load(tune + 2 * i);
    v128_t low = wasm_f32x4_sub(widen_bf16_low(b), widen_bf16_low(a));
    v128_t high = wasm_f32x4_sub(widen_bf16_high(b), widen_bf16_high(a));
    wasm_v128_store(stage + i, low);
    wasm_v128_store(stage + i + 4, high);
  }
}

/* Puts the differences [from, from + count) into `stage`, and zeros up to the next multiple of 32. */
void difference(const Pair *pair, u32 from, u32 count) {
  if (pair->base_dtype == BF16 && pair->tune_dtype == BF16) {
    difference_bf16(pair->base + (__SIZE_TYPE__)from * 2, pair->tune + (__SIZE_TYPE__)from * 2, count);
    for (u32 i = count; i & 31; i++) stage[i] = 0;
    return;
  }
  widen(pair->tune + (__SIZE_TYPE__)from * pair->tune_size, pair->tune_dtype, count, stage);
  if (pair->base_dtype != NONE) {
    widen(pair->base + (__SIZE_TYPE__)from * pair->base_size, pair->base_dtype, count, stage_base);
    for (u32 i = 0; i < count; i += 4) {
      wasm_v128_store(stage + i, wasm_f32x4_sub(wasm_v128_load(stage + i), wasm_v128_load(stage_base + i)));
    }
  }
  for (u32 i = count; i & 31; i++) stage[i] = 0;
}

u32 first_not_finite(void) {
  for (u32 i = 0;; i++) {
    u32 bits;
    __builtin_memcpy(&bits, stage + i, 4);
    if ((bits & MAGNITUDE) >= INFINITY_BITS) return i;
  }
}

/* Begins a pass over a tensor. */
EXPORT("select_begin")
void select_begin(void) {
  __builtin_memset(upper_even, 0, sizeof upper_even);
  __builtin_memset(upper_odd, 0, sizeof upper_odd);
  __builtin_memset(lower, 0, sizeof lower);
  total = total_squares = 0;
}

EXPORT("get_total")
double get_total(void) { return total; }

EXPORT("get_squares")
double get_squares(void) { return total_squares; }

EXPORT("upper_counts")
u32 *upper_counts(void) { return upper_even; }

EXPORT("lower_counts")
u32 *lower_counts(void) { return lower; }

/*
 * First pass over `count` elements; all pieces but a tensor's last are multiples of SUM_BLOCK. Counts the upper halves,
 * and with `sums` adds up the entries. Returns the position of the first NaN or infinity, or -1.
 */
INLINE i32 measure_with(const Pair *pair, u32 count, int sums) {
  const v128_t mask = wasm_i32x4_splat(MAGNITUDE);
  const v128_t finite = wasm_i32x4_splat(INFINITY_BITS - 1);
  for (u32 begin = 0; begin < count; begin += SUM_BLOCK) {
    const u32 end = count - begin < SUM_BLOCK ? count : begin + SUM_BLOCK;
    Lanes lanes;
    lanes_clear(&lanes);
    for (u32 from = begin; from < end; from += BLOCK) {
      const u32 length = end - from < BLOCK ? end - from : BLOCK;
      difference(pair, from, length);
      v128_t bad = wasm_i32x4_splat(0);
      for (u32 i = 0; i < length; i += 4) {
        v128_t value = wasm_v128_load(stage + i);
        v128_t magnitude = wasm_v128_and(value, mask);
        bad = wasm_v128_or(bad, wasm_i32x4_gt(magnitude, finite));
        if (sums) lanes_add(&lanes, value);
        v128_t bucket = wasm_u32x4_shr(magnitude, 16);
        u64 first = wasm_i64x2_extract_lane(bucket, 0), second = wasm_i64x2_extract_lane(bucket, 1);
        upper_even[(u32)first]++;
        upper_odd[(u32)(first >> 32)]++;
        upper_even[(u32)second]++;
        upper_odd[(u32)(second >> 32)]++;
      }
      /* The zeros behind the last entry were counted too. */
      for (u32 i = length; i & 3; i++) (i & 1 ? upper_odd : upper_even)[0]--;
      if (UNLIKELY(wasm_v128_any_true(bad))) return from + first_not_finite();
    }
    if (sums) total += lanes_sum(&lanes);
  }
  return -1;
}

EXPORT("measure")
i32 measure(const u8 *base, u32 base_dtype, const u8 *tune, u32 tune_dtype, u32 count, u32 sums) {
  const Pair pair = pair_of(base, base_dtype, tune, tune_dtype);
  return sums ? measure_with(&pair, count, 1) : measure_with(&pair, count, 0);
}

/* Puts the two halves of the first pass's counters together, in `upper_counts`. */
EXPORT("measure_end")
void measure_end(void) {
  for (u32 i = 0; i < 1 << 15; i++) upper_even[i] += upper_odd[i];
}

/* Squared distances from `mean` of the `count` first lanes. */
INLINE void add_squares(Lanes *lanes, const float *at, u32 count, double mean) {
  v128_t value = wasm_v128_load(at), means = wasm_f64x2_splat(mean);
  v128_t a = wasm_f64x2_sub(wasm_f64x2_promote_low_f32x4(value), means);
  v128_t b = wasm_f64x2_sub(wasm_f64x2_promote_low_f32x4(wasm_i32x4_shuffle(value, value, 2, 3, 2, 3)), means);
  if (UNLIKELY(count < 4)) {
    /* Not the zeros behind the last entry. */
    a = wasm_v128_and(a, wasm_i64x2_make(count > 0 ? -1 : 0, count > 1 ? -1 : 0));
    b = wasm_v128_and(b, wasm_i64x2_make(count > 2 ? -1 : 0, 0));
  }
  lanes->low = wasm_f64x2_add(lanes->low, wasm_f64x2_mul(a, a));
  lanes->high = wasm_f64x2_add(lanes->high, wasm_f64x2_mul(b, b));
}

/*
 * Second pass: counts the lower halves inside `bucket`, and adds up the magnitudes of the buckets above it, and with
 * `squares` also the squared distances of all entries from `mean`.
 */
INLINE void refine_with(const Pair *pair, u32 count, u32 bucket, int squares, double mean) {
  const v128_t mask = wasm_i32x4_splat(MAGNITUDE);
  const v128_t low = wasm_i32x4_splat((bucket << 16) - 1);
  const v128_t high = wasm_i32x4_splat(bucket << 16 | 0xffff);
  for (u32 begin = 0; begin < count; begin += SUM_BLOCK) {
    const u32 end = count - begin < SUM_BLOCK ? count : begin + SUM_BLOCK;
    Lanes lanes, spread;
    lanes_clear(&lanes);
    lanes_clear(&spread);
    for (u32 from = begin; from < end; from += BLOCK) {
      const u32 length = end - from < BLOCK ? end - from : BLOCK;
      difference(pair, from, length);
      for (u32 i = 0; i < length; i += 4) {
        v128_t magnitude = wasm_v128_and(wasm_v128_load(stage + i), mask);
        v128_t above = wasm_i32x4_gt(magnitude, high);
        lanes_add(&lanes, wasm_v128_and(magnitude, above));
        if (squares) add_squares(&spread, stage + i, length - i, mean);
        v128_t inside = wasm_v128_andnot(wasm_i32x4_gt(magnitude, low), above);
        if (UNLIKELY(wasm_v128_any_true(inside))) {
          u32 lanes_inside = wasm_i32x4_bitmask(inside);
          if (length - i < 4) lanes_inside &= (1u << (length - i)) - 1;
          for (; lanes_inside != 0; lanes_inside &= lanes_inside - 1) {
            u32 bits;
            __builtin_memcpy(&bits, stage + i + __builtin_ctz(lanes_inside), 4);
            lower[bits & 0xffff]++;
          }
        }
      }
    }
    total += lanes_sum(&lanes);
    total_squares += lanes_sum(&spread);
  }
}

EXPORT("refine")
void refine(const u8 *base, u32 base_dtype, const u8 *tune, u32 tune_dtype, u32 count, u32 bucket, u32 squares,
            double mean) {
  const Pair pair = pair_of(base, base_dtype, tune, tune_dtype);
  if (squares) refine_with(&pair, count, bucket, 1, mean);
  else refine_with(&pair, count, bucket, 0, 0);
}

/* Entries whose magnitude bits are `threshold`, which is above 0. */
EXPORT("count_equal")
u32 count_equal(const u8 *base, u32 base_dtype, const u8 *tune, u32 tune_dtype, u32 count, u32 threshold) {
  const Pair pair = pair_of(base, base_dtype, tune, tune_dtype);
  const v128_t mask = wasm_i32x4_splat(MAGNITUDE);
  const v128_t wanted = wasm_i32x4_splat(threshold);
  u32 equal = 0;
  for (u32 from = 0; from < count; from += BLOCK) {
    const u32 length = count - from < BLOCK ? count - from : BLOCK;
    difference(&pair, from, length);
    v128_t counts = wasm_i32x4_splat(0);
    for (u32 i = 0; i < length; i += 4) {
      counts = wasm_i32x4_sub(counts, wasm_i32x4_eq(wasm_v128_and(wasm_v128_load(stage + i), mask), wanted));
    }
    equal += wasm_i32x4_extract_lane(counts, 0) + wasm_i32x4_extract_lane(counts, 1) +
             wasm_i32x4_extract_lane(counts, 2) + wasm_i32x4_extract_lane(counts, 3);
  }
  return equal;
}

static u32 ties_left, kept_entries;

EXPORT("ternarise_begin")
void ternarise_begin(u32 ties) {
  ties_left = ties;
  kept_entries = 0;
}

EXPORT("kept")
u32 kept(void) { return kept_entries; }

/*
 * Third pass: bits of the entries with magnitude bits above `threshold`, and of the first `ties` of those equal to it.
 * `count` of all pieces but a tensor's last is a multiple of 32.
 */
EXPORT("ternarise")
void ternarise(const u8 *base, u32 base_dtype, const u8 *tune, u32 tune_dtype, u32 count, u32 threshold, u32 *plus,
               u32 *minus) {
  const Pair pair = pair_of(base, base_dtype, tune, tune_dtype);
  const v128_t mask = wasm_i32x4_splat(MAGNITUDE);
  const v128_t limit = wasm_i32x4_splat(threshold);
  u32 entries = 0, word = 0;
  for (u32 from = 0; from < count; from += BLOCK) {
    const u32 length = count - from < BLOCK ? count - from : BLOCK;
    difference(&pair, from, length);
    for (u32 i = 0; i < length; i += 32, word++) {
      u32 above = 0, equal = 0, negative = 0;
      for (u32 half = 0; half < 2; half++) {
        const float *at = stage + i + 16 * half;
        v128_t a = wasm_v128_load(at), b = wasm_v128_load(at + 4), c = wasm_v128_load(at + 8), d = wasm_v128_load(at + 12);
        v128_t ma = wasm_v128_and(a, mask), mb = wasm_v128_and(b, mask), mc = wasm_v128_and(c, mask),
               md = wasm_v128_and(d, mask);
        above |= bits_of(wasm_i32x4_gt(ma, limit), wasm_i32x4_gt(mb, limit), wasm_i32x4_gt(mc, limit),
                         wasm_i32x4_gt(md, limit)) << (16 * half);
        equal |= bits_of(wasm_i32x4_eq(ma, limit), wasm_i32x4_eq(mb, limit), wasm_i32x4_eq(mc, limit),
                         wasm_i32x4_eq(md, limit)) << (16 * half);
        negative |= bits_of(wasm_i32x4_shr(a, 31), wasm_i32x4_shr(b, 31), wasm_i32x4_shr(c, 31),
                            wasm_i32x4_shr(d, 31)) << (16 * half);
      }
      if (equal != 0 && ties_left != 0) {
        u32 count_of = __builtin_popcount(equal);
        while (count_of > ties_left) {
          /* Later ones go first. */
          equal &= ~(0x80000000u >> __builtin_clz(equal));
          count_of--;
        }
        ties_left -= count_of;
        above |= equal;
      }
      plus[word] = above & ~negative;
      minus[word] = above & negative;
      entries += __builtin_popcount(above);
    }
  }
  kept_entries += entries;
}
