/* What the passes over a tensor's elements have in common. */
#ifndef KINMERGE_SELECT_H
#define KINMERGE_SELECT_H

#include "widen.h"

#define MAGNITUDE 0x7fffffff
#define INFINITY_BITS 0x7f800000
/* Elements widened at a time. */
#define BLOCK 2048
/* Elements per summation block (SUM_BLOCK of ../limits.ts): the order of a sum is part of its value. */
#define SUM_BLOCK 65536

/* The differences of the block in hand. */
extern float stage[BLOCK + 16];

/* Counters of upper and lower halves of magnitudes: 2^15 and 2^16. */
u32 *upper_counts(void);
u32 *lower_counts(void);

typedef struct {
  const u8 *base, *tune;
  u32 base_dtype, tune_dtype;
  u32 base_size, tune_size;
} Pair;

/* Bytes of an element. */
u32 size_of(u32 dtype);

INLINE Pair pair_of(const u8 *base, u32 base_dtype, const u8 *tune, u32 tune_dtype) {
  Pair pair = {base, tune, base_dtype, tune_dtype, size_of(base_dtype), size_of(tune_dtype)};
  return pair;
}

/* Puts the differences [from, from + count) into `stage`, and zeros up to the next multiple of 32. */
void difference(const Pair *pair, u32 from, u32 count);

/* Where in `stage` the first NaN or infinity is; there is one. */
u32 first_not_finite(void);

/*
 * Sums of a block in four lanes, element i in lane i mod 4; lanes 0 + 1 and 2 + 3 are added first. Blocks follow one
 * another in the order of the elements, so a value depends on the elements alone.
 */
typedef struct {
  v128_t low, high;
} Lanes;

INLINE void lanes_clear(Lanes *lanes) { lanes->low = lanes->high = wasm_f64x2_splat(0); }

INLINE void lanes_add(Lanes *lanes, v128_t value) {
  lanes->low = wasm_f64x2_add(lanes->low, wasm_f64x2_promote_low_f32x4(value));
  lanes->high = wasm_f64x2_add(lanes->high, wasm_f64x2_promote_low_f32x4(wasm_i32x4_shuffle(value, value, 2, 3, 2, 3)));
}

INLINE double lanes_sum(const Lanes *lanes) {
  return (wasm_f64x2_extract_lane(lanes->low, 0) + wasm_f64x2_extract_lane(lanes->low, 1)) +
         (wasm_f64x2_extract_lane(lanes->high, 0) + wasm_f64x2_extract_lane(lanes->high, 1));
}

/* The signs of 16 lanes in four vectors, so also those that are all ones: narrowing keeps them. */
INLINE u32 bits_of(v128_t a, v128_t b, v128_t c, v128_t d) {
  return wasm_i8x16_bitmask(wasm_i8x16_narrow_i16x8(wasm_i16x8_narrow_i32x4(a, b), wasm_i16x8_narrow_i32x4(c, d)));
}

#endif
