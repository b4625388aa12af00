/*
 * The model of coding 1 (docs/payload-format.md): integers only, so every machine computes the same frequencies. Zeros
 * between two entries follow a geometric law; its density is the tensor's, corrected by a level in steps of 2^(1/4) of
 * the odds. A level is the sum of one for the column, learnt from the rows above, and one for the row, learnt from its
 * own entries so far.
 */
#ifndef KINMERGE_MODEL_H
#define KINMERGE_MODEL_H

#include "kernel.h"

/* Frequencies of one table sum to 2^15. */
#define FREQUENCY_BITS 15
#define FREQUENCY_TOTAL (1u << FREQUENCY_BITS)
/* The coder's state lies in [2^23, 2^31) between symbols; it starts, for the encoder, and ends at 2^23. */
#define STATE_LOW (1u << 23)
/* Levels reach from -32 to 32: odds from 1/256 to 256 times the tensor's. */
#define MAX_LEVEL 32
/* Longest gap that one symbol holds; longer ones take several. Bounds a table to about 2.5 KiB. */
#define MAX_GAP 256
/* Elements of a segment at a row's start, where rows are modelled; later ones may be a quarter of what precedes. */
#define ROW_SEGMENT 32
/* Elements of a segment of a tensor without rows: only bounds the work between two checks. */
#define FLAT_SEGMENT 65536
/* At most: one for each level, 5 up to column 128, and one for each growth of the place by a quarter from there. */
#define MAX_SEGMENTS 128
/* Elements of a modelled row (also in ../format.ts): bounds the memory of the columns. */
#define MAX_WIDTH 262144
/* Rows that columns remember before their counts are halved. Also keeps the sums below 2^32. */
#define MEMORY_ROWS 65536

#define LOOKUP_SHIFT 5

/* Frequencies of one level: symbol s < longest is a gap of s zeros and then an entry, longest is that many zeros. */
typedef struct {
  u32 longest;
  /* Density in units of 2^-13. */
  u32 density;
  /* Sums of the frequencies of the symbols below; longest + 2 values, the last one 2^15. */
  u16 cumulative[MAX_GAP + 2];
  /* The symbol of slot 32 * i. */
  u8 lookup[FREQUENCY_TOTAL >> LOOKUP_SHIFT];
  /*
   * What the encoder makes of a gap, and of zeros up to a segment's end: 15 bits start, 15 bits frequency - 1, and 2
   * where a sign follows, to which it is added.
   */
  u32 gaps[MAX_GAP + 1], ends[MAX_GAP + 1];
} Level;

/* The walk over a tensor, row by row, and each row in segments of columns that share a level. */
typedef struct {
  u32 elements, width, row, row_start;
  /* Segments of the row; segment s is columns[starts[s]] up to columns[starts[s + 1] - 1]. */
  u32 segments;
  u32 starts[MAX_SEGMENTS + 1];
  i8 levels[MAX_SEGMENTS];
  /* Odds of the row up to a segment's end that its columns' levels alone would make, as `log_odds` of model.c. */
  i32 meant[MAX_SEGMENTS];
  /* 1 where the tensor has rows; where rows have levels; where columns have. */
  u32 shaped, row_strength, column_strength;
  u32 density, memory, next_update;
  /* Of the row so far. */
  u32 entries;
  i32 row_level;
} Scan;

extern Scan scan;
/* The order of the columns, entries met per column, and levels of the columns: width of each. */
extern u32 columns[MAX_WIDTH];
extern u32 column_counts[MAX_WIDTH];

void scan_begin(u32 elements, u32 nnz, u32 width, u32 rows, u32 cols);
/* Goes to the next row; 0 after the last one. */
int scan_next_row(void);
/* The table for a segment of this row, given all that was reported before it. */
const Level *scan_table(u32 segment);
/* Reports the entries of a segment. */
void scan_report(u32 segment, u32 entries);

#endif
