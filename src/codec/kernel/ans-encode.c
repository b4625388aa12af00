#include "model.h"

/*
 * The code of a tensor under a model of coding 1. A range coder of the ANS kind decodes in the opposite order of
 * encoding: the symbols are collected first, 4 bytes each, and coded from the last to the first. A symbol becomes at
 * most 17 bits, so the code takes the place of the symbols that it stands for.
 */

/* Symbols (`Level`) in the order of decoding. */
static u32 *symbols, *next_symbol, *symbols_limit;

/* Positions of one row's entries in ascending order, and what may be written behind them. */
#define POSITIONS_AT_ONCE 8
static u32 positions[MAX_WIDTH + POSITIONS_AT_ONCE];
/* One row's entries by segment, in ascending order: of segment s from starts[s] on. Its place times 2, and the sign. */
static u32 ordered[MAX_WIDTH];
/* Where the next entry of a segment goes. */
static u32 fill[MAX_SEGMENTS];
/* Of a column: its place in the scan's order, and in the low bits the segment that has it. */
#define SEGMENT_BITS 7
_Static_assert(MAX_SEGMENTS == 1 << SEGMENT_BITS, "segments have that many bits");
static u32 places[MAX_WIDTH];

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

/* Bits of the 64 elements from word `w` on that lie in [start, end). */
INLINE u64 double_within(const u32 *plus, const u32 *minus, u32 w, u32 start, u32 end) {
  u64 p, m;
  __builtin_memcpy(&p, plus + w, sizeof p);
  __builtin_memcpy(&m, minus + w, sizeof m);
  u64 bits = p | m;
  const u32 first = w << 5;
  if (first < start) bits &= ~0ull << (start & 31);
  if (end - first < 64) bits &= ~(~0ull << (end - first));
  return bits;
}

/*
 * Lists the positions of the entries in [start, end); returns how many there are. A loop over the bits would be left
 * after another number of steps each time, which no processor foresees: so it is always the same number, or seldom a
 * multiple of that. What is written too much is written over.
 */
INLINE u32 list_positions(Masks t, u32 start, u32 end) {
  u32 *list = positions;
  for (u32 w = start >> 5; w << 5 < end; w += 2) {
    u64 bits = double_within(t.plus, t.minus, w, start, end);
    u32 *at = list;
    list += __builtin_popcountll(bits);
    do {
#pragma unroll
      for (u32 i = 0; i < POSITIONS_AT_ONCE; i++) {
        *at++ = (w << 5) + (u32)__builtin_ctzll(bits);
        bits &= bits - 1;
      }
    } while (UNLIKELY(bits != 0));
  }
  return list - positions;
}

INLINE u32 sign_at(const u32 *minus, u32 position) { return minus[position >> 5] >> (position & 31) & 1; }

/* The symbols of `count` entries in a segment, places times 2 and the sign. */
INLINE void add_segment(const Level *table, const u32 *entries, u32 count, u32 start, u32 end) {
  const u32 longest = table->longest;
  u32 *to = next_symbol;
  u32 next = start;
  for (u32 i = 0; i < count; i++) {
    const u32 place = entries[i] >> 1;
    u32 gap = place - next;
    for (; UNLIKELY(gap >= longest); gap -= longest) *to++ = table->gaps[longest];
    *to++ = table->gaps[gap] | (entries[i] & 1);
    next = place + 1;
  }
  u32 zeros = end - next;
  for (; UNLIKELY(zeros > longest); zeros -= longest) *to++ = table->gaps[longest];
  *to = table->ends[zeros];
  next_symbol = to + (zeros > 0);
}

/* Sorts one row's entries into the scan's order of columns, and counts them by column where these have levels. */
static NOINLINE void order_row(Masks t) {
  const u32 start = scan.row_start, count = list_positions(t, start, start + scan.width);
  const int counted = scan.column_strength != 0;
  __builtin_memcpy(fill, scan.starts, scan.segments * sizeof fill[0]);
  for (u32 i = 0; i < count; i++) {
    const u32 position = positions[i], column = position - start;
    if (counted) column_counts[column]++;
    const u32 place = places[column];
    ordered[fill[place % MAX_SEGMENTS]++] = place >> SEGMENT_BITS << 1 | sign_at(t.minus, position);
  }
}

/* The symbols of a row of a tensor that is coded without rows. */
static NOINLINE void add_flat_row(Masks t) {
  const u32 start = scan.row_start, length = scan.starts[1];
  const u32 count = list_positions(t, start, start + length);
  for (u32 i = 0; i < count; i++) ordered[i] = (positions[i] - start) << 1 | sign_at(t.minus, positions[i]);
  add_segment(scan_table(0), ordered, count, 0, length);
}

static int collect_flat(Masks t) {
  while (scan_next_row()) {
    /* No symbol stands for less than one element. */
    if (!make_room(scan.starts[1] + 1)) return 0;
    add_flat_row(t);
  }
  return 1;
}

/* Looks up the columns in the scan's order. */
static NOINLINE void find_columns(void) {
  for (u32 s = 0; s < scan.segments; s++) {
    for (u32 place = scan.starts[s]; place < scan.starts[s + 1]; place++) {
      places[columns[place]] = place << SEGMENT_BITS | s;
    }
  }
}

/* The symbols of a row that was ordered. */
static NOINLINE void add_row(void) {
  static const Level *tables[MAX_SEGMENTS];
  for (u32 s = 0; s < scan.segments; s++) {
    tables[s] = scan_table(s);
    scan_report(s, fill[s] - scan.starts[s]);
  }
  for (u32 s = 0; s < scan.segments; s++) {
    const u32 start = scan.starts[s];
    add_segment(tables[s], ordered + start, fill[s] - start, start, scan.starts[s + 1]);
  }
}

static int collect_rows(Masks t) {
  u32 sorted = 0xffffffffu;
  while (scan_next_row()) {
    if (!make_room(scan.width + MAX_SEGMENTS)) return 0;
    if (sorted != scan.next_update) {
      find_columns();
      sorted = scan.next_update;
    }
    order_row(t);
    add_row();
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

/* Symbols that are coded by one call of `code_symbols`. */
#define SYMBOLS_AT_ONCE 4096

/* The coder's state, and where its last byte is. */
typedef struct {
  u32 x;
  u8 *out;
} Coder;

/* Codes the symbols from `from` on, the last one first. */
static NOINLINE Coder code_symbols(Coder coder, const u32 *from, const u32 *to) {
  u32 x = coder.x;
  u8 *out = coder.out;
  for (const u32 *s = to; s-- != from;) {
    const u32 symbol = *s;
    const u32 frequency = (symbol >> 2 & 0x7fff) + 1;
    const u32 bits = symbol >> 1 & 1;
    /* No less than 2^15, so two bytes at most are too much. Both are written, whether or not they count. */
    const u32 limit = frequency << (16 - bits);
    const u32 once = x >> 8, twice = x >> 16;
    const int first = x >= limit, second = once >= limit;
    out[-1] = x;
    out[-2] = once;
    out -= first + second;
    x = second ? twice : first ? once : x;
    x = (bits ? 2 * x : x) + (symbol & 1);
    /* x / frequency */
    const u32 quotient = (u32)((u64)x * reciprocals[frequency] >> (31 + reciprocal_bits(frequency)));
    x += quotient * (FREQUENCY_TOTAL - frequency) + (symbol >> 17);
  }
  return (Coder){x, out};
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
  Coder coder = {STATE_LOW, (u8 *)next_symbol + 4};
  code_end = (u32)coder.out;
  for (const u32 *to = next_symbol; to != symbols;) {
    const u32 *from = to - symbols > SYMBOLS_AT_ONCE ? to - SYMBOLS_AT_ONCE : symbols;
    coder = code_symbols(coder, from, to);
    to = from;
  }
  const u32 x = coder.x;
  u8 *out = coder.out;
  *--out = x;
  *--out = x >> 8;
  *--out = x >> 16;
  *--out = x >> 24;
  return (u32)out;
}

EXPORT("ans_encode_end")
u32 ans_encode_end(void) { return code_end; }
