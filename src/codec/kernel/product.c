#include <wasm_simd128.h>

#include "kernel.h"

/*
 * K = left · right of two matrices of signs, row by row: 16-bit integers, since |K| is at most the rank, at most 1024. A
 * row of K is a sum of rows of the right factor, which lie here as 16-bit integers, a block of their columns at a time.
 */

/* Lanes of a vector of 16-bit integers. */
#define LANES 8
/* Vectors of squares, each at most 2^21, that a 32-bit lane takes: half of 2^31 / 2^21. */
#define SQUARES_BLOCK 512

static const i16 *right_rows;
static i16 *row_values;
static const u32 *left_plus, *left_minus;
static u32 rank, block_columns, stride;

static i64 total_sum, total_squares;
static u32 largest;

/* Adds the signs of the bits [from, from + count) of a mask to `out`. */
static void add_bits(const u32 *mask, u64 from, u32 count, i16 sign, i16 *out) {
  for (u64 w = from >> 5; w << 5 < from + count; w++) {
    u32 bits = mask[w];
    if (w << 5 < from) bits &= 0xffffffffu << (from & 31);
    for (; bits != 0; bits &= bits - 1) {
      u64 position = (w << 5) + __builtin_ctz(bits) - from;
      if (position >= count) return;
      out[position] = sign;
    }
  }
}

/*
 * Begins with the columns [first, first + count) of a product of factors rows x r and r x columns, given as masks.
 * `room` takes (r + 1) · count' integers of 16 bits, count' being count rounded up to a multiple of 8.
 */
EXPORT("product_begin")
void product_begin(const u32 *lplus, const u32 *lminus, const u32 *rplus, const u32 *rminus, u32 r, u32 columns,
                   u32 first, u32 count, i16 *room) {
  left_plus = lplus;
  left_minus = lminus;
  rank = r;
  block_columns = count;
  stride = (count + LANES - 1) / LANES * LANES;
  row_values = room;
  i16 *at = room + stride;
  right_rows = at;
  __builtin_memset(at, 0, (u64)stride * r * sizeof(i16));
  for (u32 k = 0; k < r; k++, at += stride) {
    u64 from = (u64)k * columns + first;
    add_bits(rplus, from, count, 1, at);
    add_bits(rminus, from, count, -1, at);
  }
}

EXPORT("product_clear")
void product_clear(void) {
  total_sum = total_squares = 0;
  largest = 0;
}

EXPORT("product_sum")
double product_sum(void) { return (double)total_sum; }

EXPORT("product_squares")
double product_squares(void) { return (double)total_squares; }

EXPORT("product_peak")
u32 product_peak(void) { return largest; }

INLINE void accumulate(const u32 *mask, u32 row, int add) {
  const u64 from = (u64)row * rank, end = from + rank;
  for (u64 w = from >> 5; w << 5 < end; w++) {
    u32 bits = mask[w];
    if (w << 5 < from) bits &= 0xffffffffu << (from & 31);
    for (; bits != 0; bits &= bits - 1) {
      u64 position = (w << 5) + __builtin_ctz(bits);
      if (position >= end) return;
      const i16 *other = right_rows + (u32)(position - from) * stride;
      for (u32 j = 0; j < stride; j += LANES) {
        v128_t sum = wasm_v128_load(row_values + j), more = wasm_v128_load(other + j);
        wasm_v128_store(row_values + j, add ? wasm_i16x8_add(sum, more) : wasm_i16x8_sub(sum, more));
      }
    }
  }
}

/* Computes one row of the block into `row_values`; what lies behind its last column is zero. */
static void load_row(u32 row) {
  __builtin_memset(row_values, 0, stride * sizeof(i16));
  accumulate(left_plus, row, 1);
  accumulate(left_minus, row, 0);
}

INLINE i64 lanes_sum(v128_t lanes) {
  return (i64)wasm_i32x4_extract_lane(lanes, 0) + wasm_i32x4_extract_lane(lanes, 1) +
         wasm_i32x4_extract_lane(lanes, 2) + wasm_i32x4_extract_lane(lanes, 3);
}

/* Adds the sum of K and of its squares over rows of the block to the totals, and takes note of the largest |K|. */
EXPORT("product_measure")
void product_measure(u32 row_from, u32 row_to) {
  v128_t peak = wasm_i16x8_splat((i16)largest);
  for (u32 row = row_from; row < row_to; row++) {
    load_row(row);
    for (u32 begin = 0; begin < stride; begin += SQUARES_BLOCK * LANES) {
      const u32 end = stride - begin < SQUARES_BLOCK * LANES ? stride : begin + SQUARES_BLOCK * LANES;
      v128_t sums = wasm_i32x4_splat(0), squares = wasm_i32x4_splat(0);
      for (u32 j = begin; j < end; j += LANES) {
        v128_t k = wasm_v128_load(row_values + j);
        sums = wasm_i32x4_add(sums, wasm_i32x4_extadd_pairwise_i16x8(k));
        squares = wasm_i32x4_add(squares, wasm_i32x4_dot_i16x8(k, k));
        peak = wasm_i16x8_max(peak, wasm_i16x8_abs(k));
      }
      total_sum += lanes_sum(sums);
      total_squares += lanes_sum(squares);
    }
  }
  i16 lanes[LANES];
  wasm_v128_store(lanes, peak);
  for (u32 i = 0; i < LANES; i++) {
    if ((u32)lanes[i] > largest) largest = lanes[i];
  }
}

/* Writes scale · K of rows of the block, row after row, `stride`, the block's columns rounded up to 8, floats each. */
EXPORT("product_expand")
void product_expand(u32 row_from, u32 row_to, float scale, float *out) {
  const v128_t factor = wasm_f32x4_splat(scale);
  for (u32 row = row_from; row < row_to; row++, out += stride) {
    load_row(row);
    for (u32 j = 0; j < stride; j += LANES) {
      v128_t k = wasm_v128_load(row_values + j);
      v128_t low = wasm_f32x4_convert_i32x4(wasm_i32x4_extend_low_i16x8(k));
      v128_t high = wasm_f32x4_convert_i32x4(wasm_i32x4_extend_high_i16x8(k));
      wasm_v128_store(out + j, wasm_f32x4_mul(low, factor));
      wasm_v128_store(out + j + 4, wasm_f32x4_mul(high, factor));
    }
  }
}

INLINE i64 masked_sum(const u32 *mask, u64 from) {
  const u64 end = from + block_columns;
  i64 sum = 0;
  for (u64 w = from >> 5; w << 5 < end; w++) {
    u32 bits = mask[w];
    if (w << 5 < from) bits &= 0xffffffffu << (from & 31);
    for (; bits != 0; bits &= bits - 1) {
      u64 position = (w << 5) + __builtin_ctz(bits);
      if (position >= end) break;
      sum += row_values[position - from];
    }
  }
  return sum;
}

/* Adds Σ K · signs over rows of the block to `product_sum`; the signs are masks of the whole matrix of `columns`. */
EXPORT("product_dot")
void product_dot(u32 row_from, u32 row_to, const u32 *plus, const u32 *minus, u32 columns, u32 first) {
  for (u32 row = row_from; row < row_to; row++) {
    load_row(row);
    const u64 from = (u64)row * columns + first;
    total_sum += masked_sum(plus, from) - masked_sum(minus, from);
  }
}
