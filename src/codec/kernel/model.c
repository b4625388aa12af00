#include "model.h"

/* Densities in the estimates of rows and columns have 13 bits. */
#define ONE 8192u

/* round(2^16 * 2^(i/4)). */
static const u64 QUARTER_OCTAVE[4] = {65536, 77936, 92682, 110218};

Scan scan;
u32 columns[MAX_WIDTH];
u32 column_counts[MAX_WIDTH];
static i8 column_levels[MAX_WIDTH];

static Level tables[2 * MAX_LEVEL + 1];
static u8 built[2 * MAX_LEVEL + 1];
static u64 tensor_entries, tensor_zeros;

/* floor(2^24 * a / d) for a <= d < 2^58: the product would not fit, so bit by bit. */
static u32 share24(u64 a, u64 d) {
  u32 quotient = 0;
  u64 rest = a;
  if (rest == d) return 1u << 24;
  for (int i = 0; i < 24; i++) {
    rest <<= 1;
    quotient <<= 1;
    if (rest >= d) {
      rest -= d;
      quotient |= 1;
    }
  }
  return quotient;
}

/* In units of 2^-24, at least 2^-14 away from 0 and 1 so that every symbol keeps a frequency. */
static u32 level_density(i32 level) {
  u32 steps = level < 0 ? -level : level;
  u64 factor = QUARTER_OCTAVE[steps & 3] << (steps >> 2);
  u64 entries = tensor_entries * (level < 0 ? 65536 : factor);
  u64 zeros = tensor_zeros * (level < 0 ? factor : 65536);
  u32 density = share24(entries, entries + zeros);
  if (density < 1024) return 1024;
  return density > (1u << 24) - 1024 ? (1u << 24) - 1024 : density;
}

static u32 packed(u32 start, u32 end, u32 kind) { return start << 17 | (end - start - 1) << 2 | kind; }

static void build(Level *table, u32 density) {
  u32 longest = (4u << 24) / density;
  if (longest > MAX_GAP) longest = MAX_GAP;
  u64 survival = 1u << 28; /* the probability of at least g zeros */
  for (u32 g = 0; g <= longest; g++) {
    /* The g in front gives every symbol a frequency. */
    table->cumulative[g] = g + (u32)((((1u << 28) - survival) * (FREQUENCY_TOTAL - 1 - longest)) >> 28);
    survival = (survival * ((1u << 24) - density)) >> 24;
  }
  table->cumulative[longest + 1] = FREQUENCY_TOTAL;
  u32 symbol = 0;
  for (u32 i = 0; i < FREQUENCY_TOTAL >> LOOKUP_SHIFT; i++) {
    while (table->cumulative[symbol + 1] <= i << LOOKUP_SHIFT) symbol++;
    table->lookup[i] = symbol < 255 ? symbol : 255;
  }
  for (u32 g = 0; g <= longest; g++) {
    table->gaps[g] = packed(table->cumulative[g], table->cumulative[g + 1], g < longest ? 2 : 0);
    table->ends[g] = packed(table->cumulative[g], FREQUENCY_TOTAL, 0);
  }
  table->longest = longest;
  table->density = density >> 11 ? density >> 11 : 1;
}

static const Level *level_table(i32 level) {
  u32 i = level + MAX_LEVEL;
  if (UNLIKELY(!built[i])) {
    build(&tables[i], level_density(level));
    built[i] = 1;
  }
  return &tables[i];
}

/* 256 * (log2(v) + 1) for v >= 1, linear between powers of two: off by less than a tenth of an octave. */
INLINE i32 biased_log256(u32 v) {
  u32 zeros = __builtin_clz(v);
  return (i32)(((31 - zeros) << 8) + (v << zeros >> 23));
}

INLINE i32 clamp_level(i32 level) {
  return level < -MAX_LEVEL ? -MAX_LEVEL : level > MAX_LEVEL ? MAX_LEVEL : level;
}

/* 256 * log2 of the odds of `entries` / 2^13 among `total`, both beside a prior. */
INLINE i32 log_odds(u32 entries, u32 total, u32 strength, u32 density) {
  u32 plus = strength * density;
  u32 minus = strength * (ONE - density);
  /* The biases cancel. */
  return biased_log256(entries + plus) - biased_log256(total * ONE - entries + minus);
}

/* The level that odds `seen` stand for where `meant` were expected. */
INLINE i32 level_of(i32 seen, i32 meant) { return clamp_level((seen - meant + 32) >> 6); }

static i32 level_at(u32 place) { return scan.column_strength ? column_levels[columns[place]] : 0; }

/*
 * Cuts the ordered columns where the level changes. Where rows have levels also into pieces, after each of which the
 * row's level is brought up to date: often at first, then ever more rarely, as it is known better.
 */
static void cut(void) {
  u32 segments = 0, expected = 0;
  for (u32 at = 0; at < scan.width;) {
    i32 level = level_at(at);
    u32 longest = scan.row_strength == 0 ? scan.width : (at >> 2) > ROW_SEGMENT ? at >> 2 : ROW_SEGMENT;
    u32 end = at + 1;
    while (end < scan.width && end - at < longest && level_at(end) == level) end++;
    scan.levels[segments++] = level;
    scan.starts[segments] = end;
    if (scan.row_strength != 0) {
      expected += (end - at) * level_table(level)->density;
      scan.meant[segments - 1] = log_odds(expected, end, scan.row_strength, scan.density);
    }
    at = end;
  }
  scan.segments = segments;
}

/* Counts of a column whose levels are kept, of this update: columns share them. */
#define KNOWN_COUNTS 4096
#define UNKNOWN 127

/* The level of a column with so many entries in the rows so far, of which `meant` was expected. */
INLINE i32 column_level(u32 count, i32 meant) {
  return level_of(log_odds(count * ONE, scan.memory, scan.column_strength, scan.density), meant);
}

/* Brings the columns' levels up to date and orders the columns by level, then by position. */
static NOINLINE void sort_columns(void) {
  while (scan.memory > MEMORY_ROWS) {
    scan.memory >>= 1;
    for (u32 i = 0; i < scan.width; i++) column_counts[i] >>= 1;
  }
  const i32 meant = log_odds(scan.memory * scan.density, scan.memory, scan.column_strength, scan.density);
  u32 places[2 * MAX_LEVEL + 2] = {0};
  static i8 known[KNOWN_COUNTS];
  __builtin_memset(known, UNKNOWN, scan.memory < KNOWN_COUNTS ? scan.memory + 1 : KNOWN_COUNTS);
  for (u32 i = 0; i < scan.width; i++) {
    const u32 count = column_counts[i];
    i32 level = count < KNOWN_COUNTS ? known[count] : UNKNOWN;
    if (UNLIKELY(level == UNKNOWN)) {
      level = column_level(count, meant);
      if (count < KNOWN_COUNTS) known[count] = level;
    }
    column_levels[i] = level;
    places[level + MAX_LEVEL + 1]++;
  }
  for (u32 i = 1; i < 2 * MAX_LEVEL + 2; i++) places[i] += places[i - 1];
  for (u32 i = 0; i < scan.width; i++) columns[places[column_levels[i] + MAX_LEVEL]++] = i;
  cut();
}

void scan_begin(u32 elements, u32 nnz, u32 width, u32 rows, u32 cols) {
  __builtin_memset(built, 0, sizeof built);
  tensor_entries = nnz;
  tensor_zeros = elements - nnz;
  scan.elements = elements;
  scan.shaped = width != 0;
  scan.width = width == 0 ? FLAT_SEGMENT : width;
  scan.row_strength = rows == 0 ? 0 : 1u << rows;
  scan.column_strength = cols == 0 ? 0 : 1u << cols;
  scan.row = 0xffffffffu;
  scan.memory = 0;
  scan.next_update = 1;
  scan.entries = 0;
  scan.row_level = 0;
  scan.density = level_table(0)->density;
  scan.starts[0] = 0;
  scan.levels[0] = 0;
  if (!scan.shaped) return;
  for (u32 i = 0; i < width; i++) columns[i] = i;
  if (cols != 0) {
    __builtin_memset(column_counts, 0, width * sizeof column_counts[0]);
    __builtin_memset(column_levels, 0, width);
  }
  cut();
}

int scan_next_row(void) {
  scan.row++;
  u64 start = (u64)scan.row * scan.width;
  if (start >= scan.elements) return 0;
  scan.row_start = start;
  if (!scan.shaped) {
    u32 left = scan.elements - scan.row_start;
    scan.segments = 1;
    scan.starts[1] = left < scan.width ? left : scan.width;
    return 1;
  }
  scan.entries = 0;
  scan.row_level = 0;
  if (scan.column_strength && scan.row > 0) {
    scan.memory++;
    if (scan.row == scan.next_update) {
      sort_columns();
      scan.next_update += (scan.next_update >> 3) > 1 ? scan.next_update >> 3 : 1;
    }
  }
  return 1;
}

const Level *scan_table(u32 segment) { return level_table(clamp_level(scan.levels[segment] + scan.row_level)); }

void scan_report(u32 segment, u32 entries) {
  if (scan.row_strength == 0) return;
  scan.entries += entries;
  i32 seen = log_odds(scan.entries * ONE, scan.starts[segment + 1], scan.row_strength, scan.density);
  scan.row_level = level_of(seen, scan.meant[segment]);
}
