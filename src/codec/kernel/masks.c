#include <wasm_simd128.h>

#include "kernel.h"

u32 *found_plus, *found_minus;
u32 found_entries, found_negatives;

/* Where the next decoder puts its entries; null for both: it only counts. */
EXPORT("decode_to")
void decode_to(u32 *plus, u32 *minus) {
  found_plus = plus;
  found_minus = minus;
}

EXPORT("entries_found")
u32 entries_found(void) { return found_entries; }

EXPORT("negatives_found")
u32 negatives_found(void) { return found_negatives; }

/* Counts the entries of each row of `width` elements and of each column; both arrays are zero at first. */
EXPORT("count_rows_columns")
void count_rows_columns(const u32 *plus, const u32 *minus, u32 words, u32 width, u32 *rows, u32 *columns) {
  u32 row = 0;
  u64 row_end = width;
  for (u32 w = 0; w < words; w++) {
    u32 kept = plus[w] | minus[w];
    while (kept != 0) {
      u32 position = (w << 5) + __builtin_ctz(kept);
      kept &= kept - 1;
      if (position >= row_end) {
        row = position / width;
        row_end = (u64)(row + 1) * width;
      }
      rows[row]++;
      columns[position - (u32)(row_end - width)]++;
    }
  }
}

/* Four lanes of all ones where the four low bits of `bits` are set. */
INLINE v128_t lanes_of(u32 bits) {
  return wasm_i32x4_ne(wasm_v128_and(wasm_i32x4_splat(bits), wasm_i32x4_make(1, 2, 4, 8)), wasm_i32x4_splat(0));
}

/* The entries of whole words as float32: scale, -scale or 0. */
EXPORT("expand_masks")
void expand_masks(const u32 *plus, const u32 *minus, u32 words, float scale, float *out) {
  const v128_t value = wasm_f32x4_splat(scale), sign = wasm_i32x4_splat(0x80000000);
  for (u32 w = 0; w < words; w++, out += 32) {
    u32 negative = minus[w];
    u32 kept = plus[w] | negative;
    for (u32 i = 0; i < 32; i += 4) {
      v128_t flipped = wasm_v128_xor(value, wasm_v128_and(lanes_of(negative >> i), sign));
      wasm_v128_store(out + i, wasm_v128_and(lanes_of(kept >> i), flipped));
    }
  }
}
