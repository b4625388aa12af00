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

/* Planes of counters in binary digits: a row more than 255 would overflow them. */
#define PLANES 8

/* Vectors of 128 columns that have counters of that kind: rows of 32,768 elements. */
#define MAX_COUNTER_VECTORS 256

/* Digit p of the counters of a vector's columns is planes[p][vector]. */
static v128_t planes[PLANES][MAX_COUNTER_VECTORS];

/* Adds the counters to the columns' counts, and clears them. */
static void flush_counters(u32 vectors, u32 *columns) {
  for (u32 p = 0; p < PLANES; p++) {
    for (u32 v = 0; v < vectors; v++) {
      u32 words[4];
      wasm_v128_store(words, planes[p][v]);
      planes[p][v] = wasm_i32x4_splat(0);
      for (u32 i = 0; i < 4; i++) {
        for (u32 bits = words[i]; bits != 0; bits &= bits - 1) {
          columns[128 * v + 32 * i + __builtin_ctz(bits)] += 1u << p;
        }
      }
    }
  }
}

/* Rows of whole vectors of 128 columns. */
static void count_vectors(const u32 *plus, const u32 *minus, u32 words, u32 width, u32 *rows, u32 *columns) {
  const u32 vectors = width / 128;
  u32 pending = 0;
  for (u32 row = 0, w = 0; w < words; row++) {
    v128_t counted = wasm_i32x4_splat(0);
    for (u32 v = 0; v < vectors; v++, w += 4) {
      v128_t carry = wasm_v128_or(wasm_v128_load(plus + w), wasm_v128_load(minus + w));
      counted = wasm_i16x8_add(counted, wasm_u16x8_extadd_pairwise_u8x16(wasm_i8x16_popcnt(carry)));
      for (u32 p = 0; p < PLANES && wasm_v128_any_true(carry); p++) {
        v128_t digit = planes[p][v];
        planes[p][v] = wasm_v128_xor(digit, carry);
        carry = wasm_v128_and(digit, carry);
      }
    }
    /* At most 16 bits per lane and vector: 2^12 in all. */
    v128_t pairs = wasm_u32x4_extadd_pairwise_u16x8(counted);
    rows[row] = wasm_i32x4_extract_lane(pairs, 0) + wasm_i32x4_extract_lane(pairs, 1) +
                wasm_i32x4_extract_lane(pairs, 2) + wasm_i32x4_extract_lane(pairs, 3);
    if (++pending == (1 << PLANES) - 1) {
      flush_counters(vectors, columns);
      pending = 0;
    }
  }
  flush_counters(vectors, columns);
}

/* Counts the entries of each row of `width` elements and of each column; both arrays are zero at first. */
EXPORT("count_rows_columns")
void count_rows_columns(const u32 *plus, const u32 *minus, u32 words, u32 width, u32 *rows, u32 *columns) {
  if (width % 128 == 0 && width / 128 <= MAX_COUNTER_VECTORS) {
    count_vectors(plus, minus, words, width, rows, columns);
    return;
  }
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
