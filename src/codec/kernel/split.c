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

/* Room for one more block; SPLIT_OK where there is. */
static i32 make_room(void) {
  if (UNLIKELY((u32)(list_next - list) > most_candidates)) return SPLIT_TOO_MANY;
  if (LIKELY(list_limit - list_next >= BLOCK)) return SPLIT_OK;
  if (!reach((u64)(__SIZE_TYPE__)list_next + BLOCK * sizeof(u32))) return SPLIT_MEMORY_REFUSED;
  list_limit = (u32 *)((u64)__builtin_wasm_memory_size(0) * WASM_PAGE > 0xffffffffull
                           ? 0xfffffffcull
                           : (u64)__builtin_wasm_memory_size(0) * WASM_PAGE);
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
  const v128_t mask = wasm_i32x4_splat(MAGNITUDE);
  const v128_t finite = wasm_i32x4_splat(INFINITY_BITS - 1);
  const v128_t lowest = wasm_i32x4_splat(low), highest = wasm_i32x4_splat(high);
  u32 word = 0, entries = 0;
  for (u32 begin = 0; begin < count; begin += SUM_BLOCK) {
    const u32 end = count - begin < SUM_BLOCK ? count : begin + SUM_BLOCK;
    Lanes lanes;
    lanes_clear(&lanes);
    for (u32 from = begin; from < end; from += BLOCK) {
      const u32 length = end - from < BLOCK ? end - from : BLOCK;
      const i32 room = make_room();
      if (UNLIKELY(room != SPLIT_OK)) return room;
      difference(&pair, from, length);
      v128_t bad = wasm_i32x4_splat(0);
      for (u32 i = 0; i < length; i += 32, word++) {
        u32 above = 0, inside = 0, negative = 0;
        for (u32 half = 0; half < 2; half++) {
          v128_t value[4], magnitude[4], over[4], under[4];
          for (u32 k = 0; k < 4; k++) {
            value[k] = wasm_v128_load(stage + i + 16 * half + 4 * k);
            magnitude[k] = wasm_v128_and(value[k], mask);
            bad = wasm_v128_or(bad, wasm_i32x4_gt(magnitude[k], finite));
            over[k] = wasm_i32x4_gt(magnitude[k], highest);
            under[k] = wasm_i32x4_gt(magnitude[k], lowest);
            lanes_add(&lanes, wasm_v128_and(magnitude[k], over[k]));
          }
          above |= bits_of(over[0], over[1], over[2], over[3]) << (16 * half);
          inside |= bits_of(under[0], under[1], under[2], under[3]) << (16 * half);
          negative |= bits_of(wasm_i32x4_shr(value[0], 31), wasm_i32x4_shr(value[1], 31),
                              wasm_i32x4_shr(value[2], 31), wasm_i32x4_shr(value[3], 31)) << (16 * half);
        }
        inside &= ~above;
        entries += __builtin_popcount(above);
        plus[word] = above & ~negative;
        /* A candidate's sign waits here. */
        minus[word] = (above | inside) & negative;
        candidates[word] = inside;
        for (; inside != 0; inside &= inside - 1) {
          u32 bits;
          __builtin_memcpy(&bits, stage + i + __builtin_ctz(inside), 4);
          *list_next++ = bits & MAGNITUDE;
        }
      }
      if (UNLIKELY(wasm_v128_any_true(bad))) return from + first_not_finite();
    }
    sum_above += lanes_sum(&lanes);
  }
  kept_above += entries;
  return SPLIT_OK;
}

static u32 threshold_ties;

/*
 * The magnitude bits of the `rank`-th largest candidate (from 1; at most as many as there are), by radix: 8 bits at a
 * time, the highest first. `split_ties` is then how many candidates equal to it belong to the `rank` largest.
 */
EXPORT("split_select")
u32 split_select(u32 rank) {
  u32 prefix = 0, left = rank;
  for (i32 shift = 24; shift >= 0; shift -= 8) {
    u32 counts[256] = {0};
    for (const u32 *at = list; at != list_next; at++) {
      /* The bits above this digit agree with what was found so far. */
      if ((*at ^ prefix) >> shift < 256) counts[*at >> shift & 255]++;
    }
    u32 digit = 255;
    while (counts[digit] < left) left -= counts[digit--];
    prefix |= digit << shift;
  }
  threshold_ties = left;
  return prefix;
}

EXPORT("split_ties")
u32 split_ties(void) { return threshold_ties; }

/*
 * Settles the candidates: keeps those above `threshold`, and the first `ties` of those equal to it. Returns the kept
 * entries of the whole tensor; `split_sum` is then the sum of their magnitudes.
 */
EXPORT("split_settle")
u32 split_settle(u32 words, u32 threshold, u32 ties, u32 *plus, u32 *minus, const u32 *candidates) {
  const u32 *at = list;
  u32 entries = kept_above;
  for (u32 w = 0; w < words; w++) {
    u32 inside = candidates[w], kept = 0;
    if (inside == 0) continue;
    for (u32 rest = inside; rest != 0; rest &= rest - 1) {
      u32 magnitude = *at++;
      if (magnitude < threshold) continue;
      if (magnitude == threshold) {
        if (ties == 0) continue;
        ties--;
      }
      kept |= rest & -rest;
      float value;
      __builtin_memcpy(&value, &magnitude, 4);
      sum_above += value;
    }
    plus[w] |= kept & ~minus[w];
    minus[w] &= ~(inside & ~kept);
    entries += __builtin_popcount(kept);
  }
  return entries;
}
