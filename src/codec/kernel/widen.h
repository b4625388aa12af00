/* Little-endian elements of any float dtype to float32, exactly (float64: rounded to nearest even). */
#ifndef KINMERGE_WIDEN_H
#define KINMERGE_WIDEN_H

#include <wasm_simd128.h>

#include "kernel.h"

/* The dtypes as kernel.ts numbers them; NONE stands for a tensor of zeros. */
enum Dtype { NONE = 0, F32 = 1, F16 = 2, BF16 = 3, F8_E4M3 = 4, F8_E5M2 = 5, F64 = 6 };

/* The first, or last, four of eight bfloat16: the upper halves of float32. */
INLINE v128_t widen_bf16_low(v128_t v) { return wasm_i16x8_shuffle(wasm_i32x4_splat(0), v, 0, 8, 1, 9, 2, 10, 3, 11); }
INLINE v128_t widen_bf16_high(v128_t v) { return wasm_i16x8_shuffle(wasm_i32x4_splat(0), v, 4, 12, 5, 13, 6, 14, 7, 15); }

/* float16 bits in the low halves of four lanes. */
INLINE v128_t widen_f16(v128_t half) {
  v128_t sign = wasm_i32x4_shl(wasm_v128_and(half, wasm_i32x4_splat(0x8000)), 16);
  v128_t shifted = wasm_i32x4_shl(wasm_v128_and(half, wasm_i32x4_splat(0x7fff)), 13);
  /* 2^112 corrects the bias, for subnormals too; exponent 31 is infinity or NaN and needs the largest exponent. */
  v128_t scaled = wasm_f32x4_mul(shifted, wasm_f32x4_splat(0x1p112f));
  v128_t special = wasm_i32x4_gt(shifted, wasm_i32x4_splat((0x7c00 << 13) - 1));
  v128_t magnitude = wasm_v128_or(scaled, wasm_v128_and(special, wasm_i32x4_splat(0x7f800000)));
  return wasm_v128_or(magnitude, sign);
}

/* An E4M3 code in the low byte of four lanes: bias 7, no infinities, NaN where all other bits are 1. */
INLINE v128_t widen_e4m3(v128_t code) {
  v128_t sign = wasm_i32x4_shl(wasm_v128_and(code, wasm_i32x4_splat(0x80)), 24);
  v128_t low = wasm_v128_and(code, wasm_i32x4_splat(0x7f));
  v128_t scaled = wasm_f32x4_mul(wasm_i32x4_shl(low, 20), wasm_f32x4_splat(0x1p120f));
  v128_t nan = wasm_i32x4_eq(low, wasm_i32x4_splat(0x7f));
  v128_t magnitude = wasm_v128_or(scaled, wasm_v128_and(nan, wasm_i32x4_splat(0x7fc00000)));
  return wasm_v128_or(magnitude, sign);
}

/*
 * `count` elements from `from`, which need not be aligned; writes up to 15 floats more. Reads up to 15 elements more.
 */
INLINE void widen(const u8 *from, u32 dtype, u32 count, float *to) {
  switch (dtype) {
    case NONE:
      __builtin_memset(to, 0, count * sizeof(float));
      return;
    case F32:
      __builtin_memcpy(to, from, count * sizeof(float));
      return;
    case F64:
      for (u32 i = 0; i < count; i++) {
        double value;
        __builtin_memcpy(&value, from + 8 * i, 8);
        to[i] = (float)value;
      }
      return;
    case BF16:
      for (u32 i = 0; i < count; i += 8) {
        v128_t v = wasm_v128_load(from + 2 * i);
        wasm_v128_store(to + i, widen_bf16_low(v));
        wasm_v128_store(to + i + 4, widen_bf16_high(v));
      }
      return;
    case F16:
      for (u32 i = 0; i < count; i += 8) {
        v128_t v = wasm_v128_load(from + 2 * i);
        wasm_v128_store(to + i, widen_f16(wasm_u32x4_extend_low_u16x8(v)));
        wasm_v128_store(to + i + 4, widen_f16(wasm_u32x4_extend_high_u16x8(v)));
      }
      return;
    default:
      for (u32 i = 0; i < count; i += 8) {
        v128_t v = wasm_u16x8_load8x8(from + i);
        v128_t low = wasm_u32x4_extend_low_u16x8(v), high = wasm_u32x4_extend_high_u16x8(v);
        if (dtype == F8_E4M3) {
          wasm_v128_store(to + i, widen_e4m3(low));
          wasm_v128_store(to + i + 4, widen_e4m3(high));
        } else {
          /* E5M2 is the upper byte of float16. */
          wasm_v128_store(to + i, widen_f16(wasm_i32x4_shl(low, 8)));
          wasm_v128_store(to + i + 4, widen_f16(wasm_i32x4_shl(high, 8)));
        }
      }
  }
}

#endif
