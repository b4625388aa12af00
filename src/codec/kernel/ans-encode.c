#include "model.h"

/*
 * The code of a tensor under a model of coding 1. A range coder of the ANS kind decodes in the opposite order of
 * encoding: the symbols are collected first, 4 bytes each, and coded from the last to the first. A symbol becomes at
 * most 17 bits, so the code takes the place of the symbols that it stands for.
 */

/* Symbols in the order of decoding: 15 bits start, 15 bits frequency - 1, and 0, or 2 and the sign. */
static u32 *symbols, *next_symbol, *symbols_limit;

/* One row's entries in the scan's order of columns. */
static u32 ordered_plus[MAX_WIDTH / 32], ordered_minus[MAX_WIDTH / 32];
static u32 places[MAX_WIDTH];

INLINE void push(u32 start, u32 end, u32 kind) { *next_symbol++ = start << 17 | (end - start - 1) << 2 | kind; }

/*
 * Symbols that the list may hold, 2 GiB of them: what a tensor of 2^31 elements has at a density of about 25 %. It is a
 * number and not what memory there is, because the choice of a coding must not depend on the machine.
 */
#define MAX_SYMBOLS (1u << 29)

/* What `ans_encode` answers in place of an address (kernel.ts). */
#define TOO_MANY_SYMBOLS 0u
#define MEMORY_REFUSED 1u

static u32 refusal;

/* Makes room for a segment's symbols; 0 where there is none, and `refusal` says why. */
static int make_room(u32 most) {
  if (UNLIKELY((u32)(next_symbol - symbols) + most > MAX_SYMBOLS)) {
    refusal = TOO_MANY_SYMBOLS;
    return 0;
  }
  if (LIKELY((u32)(symbols_limit - next_symbol) > most)) return 1;
  u64 end = (u64)(__SIZE_TYPE__)next_symbol + ((u64)most + 1) * sizeof(u32) + 16;
  if (!reach(end)) {
    refusal = MEMORY_REFUSED;
    return 0;
  }
  /* All there is now: the list is the last thing in memory. */
  symbols_limit = (u32 *)(__SIZE_TYPE__)((u64)__builtin_wasm_memory_size(0) * WASM_PAGE - 8);
  return 1;
}

/* The symbols of the entries in [start, end) of two masks; returns how many entries these are. */
INLINE u32 add_segment(const Level *table, const u32 *plus, const u32 *minus, u32 start, u32 end) {
  const u16 *cumulative = table->cumulative;
  const u32 longest = table->longest;
  u32 next = start, entries = 0;
  for (u32 w = start >> 5; w << 5 < end; w++) {
    u32 negative = minus[w];
    u32 kept = bits_within(plus[w] | negative, w, start, end);
    while (kept != 0) {
      u32 bit = __builtin_ctz(kept);
      kept &= kept - 1;
      u32 place = (w << 5) + bit;
      u32 gap = place - next;
      while (UNLIKELY(gap >= longest)) {
        push(cumulative[longest], cumulative[longest + 1], 0);
        gap -= longest;
      }
      push(cumulative[gap], cumulative[gap + 1], 2 | (negative >> bit & 1));
      next = place + 1;
      entries++;
    }
  }
  u32 zeros = end - next;
  while (zeros > longest) {
    push(cumulative[longest], cumulative[longest + 1], 0);
    zeros -= longest;
  }
  if (zeros > 0) push(cumulative[zeros], FREQUENCY_TOTAL, 0);
  return entries;
}

/* Sorts one row's entries into the scan's order of columns, and counts them by column where these have levels. */
static void order_row(Masks t) {
  const u32 words = (scan.width + 31) >> 5;
  __builtin_memset(ordered_plus, 0, words * sizeof(u32));
  __builtin_memset(ordered_minus, 0, words * sizeof(u32));
  const u32 start = scan.row_start, end = start + scan.width;
  const int counted = scan.column_strength != 0;
  for (u32 w = start >> 5; w << 5 < end; w++) {
    u32 negative = t.minus[w];
    u32 kept = bits_within(t.plus[w] | negative, w, start, end);
    while (kept != 0) {
      u32 bit = __builtin_ctz(kept);
      kept &= kept - 1;
      u32 column = (w << 5) + bit - start;
      u32 place = column;
      if (counted) {
        column_counts[column]++;
        place = places[column];
      }
      (negative >> bit & 1 ? ordered_minus : ordered_plus)[place >> 5] |= 1u << (place & 31);
    }
  }
}

static int collect_flat(Masks t) {
  while (scan_next_row()) {
    /* A row begins at a multiple of 65,536, so at the start of a word. No symbol stands for less than one element. */
    u32 word = scan.row_start >> 5;
    if (!make_room(scan.starts[1] + 1)) return 0;
    add_segment(scan_table(0), t.plus + word, t.minus + word, 0, scan.starts[1]);
  }
  return 1;
}

static int collect_rows(Masks t) {
  u32 sorted = 0xffffffffu;
  while (scan_next_row()) {
    if (!make_room(scan.width + MAX_SEGMENTS)) return 0;
    if (scan.column_strength && sorted != scan.next_update) {
      for (u32 i = 0; i < scan.width; i++) places[columns[i]] = i;
      sorted = scan.next_update;
    }
    order_row(t);
    for (u32 s = 0; s < scan.segments; s++) {
      const Level *table = scan_table(s);
      scan_report(s, add_segment(table, ordered_plus, ordered_minus, scan.starts[s], scan.starts[s + 1]));
    }
  }
  return 1;
}

/*
 * x / f for x < 2^31 is (x * ceil(2^(31 + l) / f)) >> (31 + l) with l = ceil(log2(f)): the factor exceeds 2^(31 + l) / f
 * by less than 2^l / f. A division is an order of magnitude slower.
 */
static u32 reciprocals[FREQUENCY_TOTAL + 1];

INLINE u32 reciprocal_bits(u32 frequency) { return frequency == 1 ? 0 : 32 - __builtin_clz(frequency - 1); }

static void make_reciprocals(void) {
  /* 2^31 / 1 is the first; the others are above 2^31 and below 2^32. */
  reciprocals[1] = 1u << 31;
  for (u32 f = 2; f <= FREQUENCY_TOTAL; f++) {
    u64 numerator = 1ull << (31 + reciprocal_bits(f));
    reciprocals[f] = (u32)((numerator + f - 1) / f);
  }
}

/*
 * Codes two masks. `heap` is where free memory begins, 4-aligned; the code lies at the returned address up to
 * `ans_encode_end()`. TOO_MANY_SYMBOLS or MEMORY_REFUSED in place of an address.
 */
static u32 code_end;

EXPORT("ans_encode")
u32 ans_encode(const u32 *plus, const u32 *minus, u32 elements, u32 nnz, u32 width, u32 rows, u32 cols, u32 heap) {
  Masks t = {plus, minus};
  if (UNLIKELY(reciprocals[1] == 0)) make_reciprocals();
  symbols = next_symbol = (u32 *)heap;
  symbols_limit = symbols;
  scan_begin(elements, nnz, width, rows, cols);
  if (!(scan.shaped ? collect_rows(t) : collect_flat(t))) return refusal;
  /* `make_room` left 8 bytes behind the list: the final state needs 4 of them, if the code is as long as the list. */
  u8 *out = (u8 *)next_symbol + 4;
  code_end = (u32)out;
  u32 x = STATE_LOW;
  for (u32 *s = next_symbol; s-- != symbols;) {
    u32 symbol = *s;
    u32 frequency = (symbol >> 2 & 0x7fff) + 1;
    u32 bits = symbol >> 1 & 1;
    u32 limit = frequency << (16 - bits);
    while (x >= limit) {
      *--out = x;
      x >>= 8;
    }
    if (bits) x = x << 1 | (symbol & 1);
    /* x / frequency */
    u32 quotient = (u32)((u64)x * reciprocals[frequency] >> (31 + reciprocal_bits(frequency)));
    x = (quotient << FREQUENCY_BITS) + (x - quotient * frequency) + (symbol >> 17);
  }
  *--out = x;
  *--out = x >> 8;
  *--out = x >> 16;
  *--out = x >> 24;
  return (u32)out;
}

EXPORT("ans_encode_end")
u32 ans_encode_end(void) { return code_end; }
