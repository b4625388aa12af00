#include "kernel.h"

/*
 * Coding 0: per entry q zeros, a one, the truncated binary remainder and the sign (1 = minus), the first bit in the
 * highest bit of the first byte, zero bits up to the next byte.
 */

/* B = ceil(log2 m): bits of the longer remainders. */
static u32 remainder_width(u32 m) { return m == 1 ? 0 : 32 - __builtin_clz(m - 1); }

/* Exact bits of the code of two masks of `words` words each, signs included. */
EXPORT("golomb_bits")
double golomb_bits(const u32 *plus, const u32 *minus, u32 words, u32 m) {
  const u32 width = remainder_width(m);
  const u64 shorter = (1ull << width) - m;
  u64 bits = 0, nnz = 0;
  u32 next = 0;
  for (u32 w = 0; w < words; w++) {
    u32 kept = plus[w] | minus[w];
    nnz += __builtin_popcount(kept);
    while (kept != 0) {
      u32 position = (w << 5) + __builtin_ctz(kept);
      kept &= kept - 1;
      u32 gap = position - next;
      next = position + 1;
      u32 quotient = gap / m;
      bits += quotient + (gap - quotient * m < shorter ? 0 : 1);
    }
  }
  /* Terminator, sign and the shorter remainder of every entry. With m = 1, which has none, the loop counted the sign. */
  return (double)(bits + nnz * (1 + width));
}

/* A byte stream, highest bits first. */
static u8 *writer;
static u64 held;
static u32 held_bits;

INLINE void write_bits(u32 value, u32 bits) {
  held = held << bits | value;
  held_bits += bits;
  while (held_bits >= 8) {
    held_bits -= 8;
    *writer++ = held >> held_bits;
  }
}

/* Codes two masks to `out`, which holds what `golomb_bits` says. */
EXPORT("golomb_encode")
void golomb_encode(const u32 *plus, const u32 *minus, u32 words, u32 m, u8 *out) {
  const u32 width = remainder_width(m);
  const u32 shorter = (u32)((1ull << width) - m);
  writer = out;
  held = 0;
  held_bits = 0;
  u32 next = 0;
  for (u32 w = 0; w < words; w++) {
    u32 negative = minus[w];
    u32 kept = plus[w] | negative;
    while (kept != 0) {
      u32 bit = __builtin_ctz(kept);
      kept &= kept - 1;
      u32 position = (w << 5) + bit;
      u32 gap = position - next;
      next = position + 1;
      u32 quotient = gap / m;
      u32 remainder = gap - quotient * m;
      for (; quotient >= 24; quotient -= 24) write_bits(0, 24);
      write_bits(1, quotient + 1);
      if (width != 0) {
        if (remainder < shorter) write_bits(remainder, width - 1);
        else write_bits(remainder + shorter, width);
      }
      write_bits(negative >> bit & 1, 1);
    }
  }
  if (held_bits > 0) write_bits(0, 8 - held_bits);
}

static const u8 *code;
static u64 code_bits, at_bit;
static u32 total, wanted, parameter, next_position;

/* `bytes` must be followed by 16 bytes of zeros. */
EXPORT("golomb_decode_begin")
void golomb_decode_begin(const u8 *bytes, u32 length, u32 elements, u32 nnz, u32 m) {
  code = bytes;
  code_bits = (u64)length * 8;
  at_bit = 0;
  total = elements;
  wanted = nnz;
  parameter = m;
  next_position = 0;
  found_entries = found_negatives = 0;
}

/* The 32 bits from bit `at` on; at most 8 bytes from its byte are looked at. */
INLINE u32 window(u64 at) {
  u64 bytes;
  __builtin_memcpy(&bytes, code + (at >> 3), 8);
  return (u32)((__builtin_bswap64(bytes) << (at & 7)) >> 32);
}

INLINE u32 run(u32 limit, int keep) {
  const u32 m = parameter, width = remainder_width(m);
  const u32 shorter = (u32)((1ull << width) - m);
  u32 stop = wanted - found_entries < limit ? wanted : found_entries + limit;
  u64 at = at_bit;
  u32 next = next_position, negatives = 0;
  for (u32 entry = found_entries; entry < stop; entry++) {
    if (UNLIKELY(at >= code_bits)) return WRONG_LENGTH;
    u64 quotient = 0;
    u32 bits = window(at);
    while (UNLIKELY(bits == 0)) {
      quotient += 32;
      at += 32;
      if (at >= code_bits) return WRONG_LENGTH;
      bits = window(at);
    }
    u32 zeros = __builtin_clz(bits);
    quotient += zeros;
    at += zeros + 1;
    u32 remainder = 0;
    if (width != 0) {
      u32 longer = window(at) >> (32 - width);
      u32 candidate = longer >> 1;
      u32 is_short = candidate < shorter;
      remainder = is_short ? candidate : longer - shorter;
      at += width - is_short;
    }
    /* Ends inside the entry; what was read beyond are zeros of ours. Before the position: the verdict is then one. */
    if (UNLIKELY(at >= code_bits)) return WRONG_LENGTH;
    u32 sign = code[at >> 3] >> (7 - (at & 7)) & 1;
    at++;
    u64 position = next + quotient * m + remainder;
    if (UNLIKELY(position >= total)) return PAST_TENSOR;
    next = (u32)position + 1;
    negatives += sign;
    put(keep, (u32)position, sign);
  }
  at_bit = at;
  next_position = next;
  found_entries = stop;
  found_negatives += negatives;
  if (stop != wanted) return MORE;
  if ((at + 7) >> 3 != code_bits >> 3) return WRONG_LENGTH;
  u32 padding = -(u32)at & 7;
  return padding != 0 && (code[at >> 3] & ((1u << padding) - 1)) != 0 ? WRONG_PADDING : DONE;
}

/* Decodes up to `limit` more entries; after the last one it checks the section's end. */
EXPORT("golomb_decode_run")
u32 golomb_decode_run(u32 limit) { return found_plus ? run(limit, 1) : run(limit, 0); }
