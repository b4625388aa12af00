#include "select.h"

/*
 * Selection in one pass, where a sample has said between which magnitudes the threshold lies: what is above is kept,
 * what is inside goes to a list, and the list is settled when the whole tensor has been seen. The result is the exact
 * top-k whenever the counts show that the threshold is inside; else the caller selects by the passes of select.c.
 */

static u32 *list, *list_next, *list_limit;
static u32 kept_above;
static double sum_above;

static u32 most_candidates;

/*
 * `heap` is where free memory begins, 4-aligned; the list of candidates grows from there, up to `most` of them and a
 * block.
 */
EXPORT("split_begin")
void split_begin(u32 heap, u32 most) {
  list = list_next = list_limit = (u32 *)heap;
  most_candidates = most;
  kept_above = 0;
  sum_above = 0;
}

EXPORT("split_above")
u32 split_above(void) { return kept_above; }

EXPORT("split_sum")
double split_sum(void) { return sum_above; }

EXPORT("split_candidates")
u32 split_candidates(void) { return (u32)(list_next - list); }

#define SPLIT_OK (-1)
#define SPLIT_TOO_MANY (-2)
#define SPLIT_MEMORY_REFUSED (-3)

/* Candidates of a word that are listed at once: seldom more; what is written too much is written over. */
#define LISTED_AT_ONCE 4

/* Room for one more block, and for what is written too much behind it; SPLIT_OK where there is. */
static i32 make_room(void) {
  if (UNLIKELY((u32)(list_next - list) > most_candidates)) return SPLIT_TOO_MANY;
  if (LIKELY(list_limit - list_next >= BLOCK + LISTED_AT_ONCE)) return SPLIT_OK;
  if (!reach((u64)(__SIZE_TYPE__)list_next + (BLOCK + LISTED_AT_ONCE) * sizeof(u32))) return SPLIT_MEMORY_REFUSED;
  list_limit = (u32 *)((u64)__builtin_wasm_memory_size(0) * WASM_PAGE > 0xffffffffull
                           ? 0xfffffffcull
                           : (u64)__builtin_wasm_memory_size(0) * WASM_PAGE);
  return SPLIT_OK;
}

/* Where the elements above the bracket go, and a bit for each candidate. */
typedef struct {
  u32 *plus, *minus, *candidates;
} SplitMasks;

/* Splits one block of sums, as `split`. */
static NOINLINE i32 split_block(const Pair *pair, u32 begin, u32 end, u32 low, u32 high, const SplitMasks *masks) {
  const v128_t mask = wasm_i32x4_splat(MAGNITUDE);
  const v128_t finite = wasm_i32x4_splat(INFINITY_BITS - 1);
  const v128_t lowest = wasm_i32x4_splat(low), highest = wasm_i32x4_splat(high);
  u32 *const plus = masks->plus, *const minus = masks->minus, *const candidates = masks->candidates;
  u32 word = begin >> 5, entries = 0;
  Lanes lanes;
  lanes_clear(&lanes);
  for (u32 from = begin; from < end; from += BLOCK) {
    const u32 length = end - from < BLOCK ? end - from : BLOCK;
    const i32 room = make_room();
    if (UNLIKELY(room != SPLIT_OK)) return room;
    difference(pair, from, length);
    v128_t largest = wasm_i32x4_splat(0);
    for (u32 i = 0; i < length; i += 32, word++) {
      u32 above = 0, inside = 0, negative = 0;
#pragma unroll
      for (u32 half = 0; half < 2; half++) {
        v128_t value[4], over[4], under[4];
        for (u32 k = 0; k < 4; k++) {
          value[k] = wasm_v128_load(stage + i + 16 * half + 4 * k);
          const v128_t magnitude = wasm_v128_and(value[k], mask);
          largest = wasm_i32x4_max(largest, magnitude);
          over[k] = wasm_i32x4_gt(magnitude, highest);
          under[k] = wasm_i32x4_gt(magnitude, lowest);
          lanes_add(&lanes, wasm_v128_and(magnitude, over[k]));
        }
        above |= bits_of(over[0], over[1], over[2], over[3]) << (16 * half);
        inside |= bits_of(under[0], under[1], under[2], under[3]) << (16 * half);
        negative |= bits_of(value[0], value[1], value[2], value[3]) << (16 * half);
      }
      inside &= ~above;
      entries += __builtin_popcount(above);
      plus[word] = above & ~negative;
      /* A candidate's sign waits here. */
      minus[word] = (above | inside) & negative;
      candidates[word] = inside;
      u32 *at = list_next;
      list_next += __builtin_popcount(inside);
      do {
#pragma unroll
        for (u32 k = 0; k < LISTED_AT_ONCE; k++) {
          u32 bits;
          __builtin_memcpy(&bits, stage + i + __builtin_ctz(inside), 4);
          *at++ = bits & MAGNITUDE;
          inside &= inside - 1;
        }
      } while (UNLIKELY(inside != 0));
    }
    if (UNLIKELY(wasm_v128_any_true(wasm_i32x4_gt(largest, finite)))) return from + first_not_finite();
  }
  sum_above += lanes_sum(&lanes);
  kept_above += entries;
  return SPLIT_OK;
}

/*
 * Splits `count` elements by magnitude bits: above `high` into the masks, above `low` and not above `high` into the
 * candidates. `count` of all pieces but a tensor's last is a multiple of SUM_BLOCK. Returns the position of the first
 * NaN or infinity, or -1; -2 with more candidates than the list may have; -3 when memory is refused.
 */
EXPORT("split")
i32 split(const u8 *base, u32 base_dtype, const u8 *tune, u32 tune_dtype, u32 count, u32 low, u32 high, u32 *plus,
          u32 *minus, u32 *candidates) {
  const Pair pair = pair_of(base, base_dtype, tune, tune_dtype);
  const SplitMasks masks = {plus, minus, candidates};
  for (u32 begin = 0; begin < count; begin += SUM_BLOCK) {
    const u32 end = count - begin < SUM_BLOCK ? count : begin + SUM_BLOCK;
    const i32 result = split_block(&pair, begin, end, low, high, &masks);
    if (UNLIKELY(result != SPLIT_OK)) return result;
  }
  return SPLIT_OK;
}

static u32 threshold_ties;

/* Digits of a selection. */
#define DIGIT_BITS 11
/* Counters for candidates that a digit is not asked of: several, so that one addition seldom waits for another. */
#define OTHERS 16
/* For the same reason two of each. */
static u32 counts[(1 << DIGIT_BITS) + OTHERS][2];

/* Counts a digit of the candidates' distances from `lowest`: of all, or of those whose higher digits are `prefix`. */
INLINE void count_digits(u32 lowest, u32 prefix, u32 known, u32 shift, u32 digit, int all) {
  const u32 candidates = list_next - list;
  __builtin_memset(counts, 0, sizeof counts);
  for (u32 i = 0; i < candidates; i++) {
    const u32 distance = list[i] - lowest;
    const u32 others = (1 << DIGIT_BITS) + (i >> 1) % OTHERS;
    counts[all || distance >> known == prefix ? distance >> shift & digit : others][i & 1]++;
  }
}

/*
 * The magnitude bits of the `rank`-th largest candidate (from 1; at most as many as there are), by radix: the distance
 * from the lowest candidate that there can be, the highest digit first. `low` and `high` are those of `split`.
 * `split_ties` is then how many candidates equal to it belong to the `rank` largest.
 */
EXPORT("split_select")
u32 split_select(u32 rank, u32 low, u32 high) {
  /* Two magnitudes differ in 31 bits at most. */
  const u32 bits = 32 - __builtin_clz(high - low);
  u32 prefix = 0, left = rank;
  for (u32 known = bits, shift; known > 0; known = shift) {
    shift = known > DIGIT_BITS ? known - DIGIT_BITS : 0;
    u32 digit = (1u << (known - shift)) - 1;
    if (known == bits) count_digits(low + 1, prefix, known, shift, digit, 1);
    else count_digits(low + 1, prefix, known, shift, digit, 0);
    for (u32 count; (count = counts[digit][0] + counts[digit][1]) < left; digit--) left -= count;
    prefix = prefix << (known - shift) | digit;
  }
  threshold_ties = left;
  return low + 1 + prefix;
}

EXPORT("split_ties")
u32 split_ties(void) { return threshold_ties; }

/* The first `count` bits of those that are set in `bits`, as four lanes of all ones. */
static v128_t first_lanes(u32 bits, u32 count) {
  u32 first = 0;
  for (; count > 0; count--, bits &= bits - 1) first |= bits & -bits;
  return wasm_i32x4_ne(wasm_v128_and(wasm_i32x4_splat(first), wasm_i32x4_make(1, 2, 4, 8)), wasm_i32x4_splat(0));
}

/* Makes zeros of the candidates that are not kept, and adds up the others in their order. */
static void cut_candidates(u32 threshold, u32 ties) {
  const v128_t limit = wasm_i32x4_splat(threshold);
  double sum = sum_above;
  if (list_next == list) return;
  /* There is room for these (`make_room`). */
  for (u32 i = 0; i < 4; i++) list_next[i] = 0;
  for (u32 *at = list; at < list_next; at += 4) {
    const v128_t magnitude = wasm_v128_load(at);
    v128_t kept = wasm_i32x4_gt(magnitude, limit);
    if (ties != 0) {
      const v128_t equal = wasm_i32x4_eq(magnitude, limit);
      const u32 bits = wasm_i32x4_bitmask(equal), count = __builtin_popcount(bits);
      kept = wasm_v128_or(kept, LIKELY(count <= ties) ? equal : first_lanes(bits, ties));
      ties -= count <= ties ? count : ties;
    }
    kept = wasm_v128_and(kept, magnitude);
    wasm_v128_store(at, kept);
    const v128_t first = wasm_f64x2_promote_low_f32x4(kept);
    const v128_t last = wasm_f64x2_promote_low_f32x4(wasm_i32x4_shuffle(kept, kept, 2, 3, 2, 3));
    sum += wasm_f64x2_extract_lane(first, 0);
    sum += wasm_f64x2_extract_lane(first, 1);
    sum += wasm_f64x2_extract_lane(last, 0);
    sum += wasm_f64x2_extract_lane(last, 1);
  }
  sum_above = sum;
}

/*
 * Settles the candidates: keeps those above `threshold`, and the first `ties` of those equal to it. Returns the kept
 * entries of the whole tensor; `split_sum` is then the sum of their magnitudes.
 */
EXPORT("split_settle")
u32 split_settle(u32 words, u32 threshold, u32 ties, u32 *plus, u32 *minus, const u32 *candidates) {
  cut_candidates(threshold, ties);
  const u32 *next = list;
  u32 entries = kept_above;
  for (u32 w = 0; w < words; w++) {
    const u32 inside = candidates[w];
    const u32 *at = next;
    u32 kept = 0, rest = inside;
    do {
#pragma unroll
      for (u32 k = 0; k < LISTED_AT_ONCE; k++) {
        kept |= *at++ != 0 ? rest & -rest : 0;
        rest &= rest - 1;
      }
    } while (UNLIKELY(rest != 0));
    next += __builtin_popcount(inside);
    plus[w] |= kept & ~minus[w];
    minus[w] &= ~(inside & ~kept);
    entries += __builtin_popcount(kept);
  }
  return entries;
}
