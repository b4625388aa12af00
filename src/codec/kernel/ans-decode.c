#include "model.h"

/*
 * Decodes a section of coding 1 in slices. Every state of the coder stands for something, so what is checked is the
 * end: exactly nnz entries, exactly the section's bytes, and the state that an encoder starts from.
 */
static const u8 *code;
static u32 code_length, code_at, state, segment, wanted;

/* `bytes` must be followed by four more: a symbol reads at most that far beyond the end, and ends the segment there. */
EXPORT("ans_decode_begin")
u32 ans_decode_begin(const u8 *bytes, u32 length, u32 elements, u32 nnz, u32 width, u32 rows, u32 cols) {
  code = bytes;
  code_length = length;
  code_at = 4;
  wanted = nnz;
  segment = 0;
  found_entries = found_negatives = 0;
  state = (u32)bytes[0] << 24 | (u32)bytes[1] << 16 | (u32)bytes[2] << 8 | bytes[3];
  if (state < STATE_LOW || state >= 1u << 31) return WRONG_STATE;
  scan_begin(elements, nnz, width, rows, cols);
  scan_next_row();
  return MORE;
}

/* The first slot of a symbol, and in the upper half that of the next one. */
INLINE u32 bounds_of(const u16 *cumulative, u32 symbol) {
  u32 both;
  __builtin_memcpy(&both, cumulative + symbol, sizeof both);
  return both;
}

/* Decodes one segment, or with `guarded` up to where the code ends, and returns its symbols. */
INLINE u32 decode_segment(const Level *table, int keep, int shaped, int guarded) {
  u32 place = scan.starts[segment];
  const u32 end = scan.starts[segment + 1];
  const u32 row_start = scan.row_start;
  const int counted = shaped && scan.column_strength != 0;
  const u32 longest = table->longest;
  const u16 *cumulative = table->cumulative;
  const u8 *bytes = code;
  const u32 last = code_length;
  u32 x = state, at = code_at, steps = 0, entries = 0, negatives = 0;
  while (place < end) {
    if (guarded && UNLIKELY(at > last)) break;
    steps++;
    u32 slot = x & (FREQUENCY_TOTAL - 1);
    u32 symbol = table->lookup[slot >> LOOKUP_SHIFT];
    u32 bounds = bounds_of(cumulative, symbol);
    while (bounds >> 16 <= slot) bounds = bounds_of(cumulative, ++symbol);
    u32 rest = end - place;
    if (symbol >= rest) {
      /* All gaps that lead out of the segment are one symbol: no more entries here. */
      u32 start = cumulative[rest];
      x = (FREQUENCY_TOTAL - start) * (x >> FREQUENCY_BITS) + slot - start;
      place = end;
    } else {
      u32 start = bounds & 0xffff;
      x = ((bounds >> 16) - start) * (x >> FREQUENCY_BITS) + slot - start;
      place += symbol;
      if (symbol != longest) {
        u32 negative = x & 1;
        x >>= 1;
        negatives += negative;
        entries++;
        u32 column = shaped ? columns[place] : place;
        if (counted) column_counts[column]++;
        put(keep, row_start + column, negative);
        place++;
      }
    }
    if (x < STATE_LOW) {
      x = x << 8 | bytes[at++];
      if (x < STATE_LOW) x = x << 8 | bytes[at++];
    }
  }
  state = x;
  code_at = at;
  found_entries += entries;
  found_negatives += negatives;
  return steps;
}

INLINE u32 run(u32 limit, int keep, int shaped) {
  u32 steps = 0;
  while (steps < limit) {
    u32 before = found_entries;
    const Level *table = scan_table(segment);
    /*
     * A symbol stands for an element at least and reads two bytes at most. Only where the code might end inside the
     * segment is that looked at after each symbol: what lies behind it would lead on, beyond the memory.
     */
    const u32 longest = 2 * (scan.starts[segment + 1] - scan.starts[segment]);
    if (LIKELY(code_at <= code_length && code_length - code_at >= longest)) {
      steps += decode_segment(table, keep, shaped, 0);
    } else {
      steps += decode_segment(table, keep, shaped, 1);
    }
    if (UNLIKELY(code_at > code_length)) return WRONG_LENGTH;
    if (UNLIKELY(found_entries > wanted)) return WRONG_COUNT;
    scan_report(segment, found_entries - before);
    segment++;
    if (segment == scan.segments) {
      segment = 0;
      if (!scan_next_row()) {
        if (found_entries != wanted) return WRONG_COUNT;
        if (code_at != code_length) return WRONG_LENGTH;
        return state == STATE_LOW ? DONE : WRONG_STATE;
      }
    }
  }
  return MORE;
}

/* Decodes segments until about `limit` symbols were read. */
EXPORT("ans_decode_run")
u32 ans_decode_run(u32 limit) {
  if (scan.shaped) return found_plus ? run(limit, 1, 1) : run(limit, 0, 1);
  return found_plus ? run(limit, 1, 0) : run(limit, 0, 0);
}
