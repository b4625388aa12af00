/*
 * What the files of the kernel share. There is no C library: no allocation, no input or output. The caller
 * (kernel.ts) lays out the memory behind `__heap_base` and hands over addresses in it.
 */
#ifndef KINMERGE_KERNEL_H
#define KINMERGE_KERNEL_H

#include <stdint.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int8_t i8;
typedef int16_t i16;
typedef int32_t i32;
typedef int64_t i64;

#define EXPORT(name) __attribute__((export_name(name)))
#define INLINE static inline __attribute__((always_inline))
/*
 * For a part of a long loop. An engine compiles a function well only after it has seen it run, and what runs keeps its
 * old code: a loop over a whole tensor would end as it began, many times slower, where one that calls is soon fast.
 */
#define NOINLINE __attribute__((noinline))
#define LIKELY(x) __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)
#define WASM_PAGE 65536u

/* Makes sure that the memory reaches `end`; 0 when the machine refuses. */
INLINE int reach(u64 end) {
  u64 size = (u64)__builtin_wasm_memory_size(0) * WASM_PAGE;
  if (LIKELY(end <= size)) return 1;
  if (end > 0xffff0000ull) return 0;
  /* Sixteenths on top, so that a growing list does not ask for every page. */
  u64 want = end + (size >> 4);
  if (want > 0xffff0000ull) want = end;
  return __builtin_wasm_memory_grow(0, (want - size + WASM_PAGE - 1) / WASM_PAGE) != (__SIZE_TYPE__)-1;
}

/* Bits of word `w` of a mask that lie in [start, end). */
INLINE u32 bits_within(u32 bits, u32 w, u32 start, u32 end) {
  u32 first = w << 5;
  if (first < start) bits &= 0xffffffffu << (start & 31);
  if (end - first < 32) bits &= ~(0xffffffffu << (end & 31));
  return bits;
}

/* A mask's bits, 1 for an entry: see TernaryTensor in ../types.ts. */
typedef struct {
  const u32 *plus;
  const u32 *minus;
} Masks;

/* What a decoder's run came to; kernel.ts names the errors. */
enum Verdict {
  MORE = 0,
  DONE = 1,
  PAST_TENSOR = 2,   /* POSITION_RANGE */
  WRONG_LENGTH = 3,  /* BAD_SECTION_LENGTH */
  WRONG_PADDING = 4, /* BAD_PADDING */
  WRONG_COUNT = 5,   /* BAD_COUNT */
  WRONG_STATE = 6,   /* BAD_CODER_STATE */
};

/* Where the decoder under way puts its entries, two bit masks, zero at first; null: it only counts. */
extern u32 *found_plus, *found_minus;
/* What it has found so far. */
extern u32 found_entries, found_negatives;

INLINE void put(int keep, u32 position, u32 negative) {
  if (keep) (negative ? found_minus : found_plus)[position >> 5] |= 1u << (position & 31);
}

#endif
