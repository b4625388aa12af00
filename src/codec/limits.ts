/**
 * Elements of one tensor, at most. Positions then fit a signed 32-bit integer, which keeps the bit loops in integer
 * arithmetic; the largest tensor published so far, an embedding of 128,256 x 16,384, is below it.
 */
export const MAX_TENSOR_ELEMENTS = 2 ** 31 - 1;

/** Tensors of one table, at most: the largest published models have a few thousand. */
export const MAX_TABLE_TENSORS = 65_536;

/** UTF-8 bytes of a tensor's name, at most, in an offline container. Real names stay below 200. */
export const MAX_NAME_BYTES = 1_024;

/** Dimensions of a tensor, at most, in an offline container; checkpoints use up to 5. */
export const MAX_DIMENSIONS = 8;

/** Bytes of an offline container's header, at most: 65,536 tensors with names of about 250 bytes. */
export const MAX_CONTAINER_HEADER_BYTES = 16 * 1024 * 1024;

/**
 * Rank of a low-rank tensor, at most: far above published adapters, which go to 256. Entries of the integer product are
 * then at most 2^10, and over 2^31 elements every sum of products of two such entries stays at or below 2^51: exact.
 */
export const MAX_UPDATE_RANK = 1_024;

/**
 * Rows of a low-rank tensor, and columns, at most: readers hold one row of the product and an index of both factors'
 * rows, here 8 MiB of 16-bit integers and 64 MiB. The largest published matrices have sides of about 262,144.
 */
export const MAX_PRODUCT_SIDE = 2 ** 22;

/** Elements per summation block (docs/algorithms.md A): the order of a sum is part of its value. */
export const SUM_BLOCK = 65_536;

/** Elements handled in one go before the event loop gets a turn and the AbortSignal is looked at: about 10 ms. */
export const SLICE_ELEMENTS = 4 * 1024 * 1024;

/** Coded entries decoded in one go before the event loop gets a turn: about 10 ms. */
export const SLICE_ENTRIES = 1024 * 1024;

/** Smallest and largest scale on the wire: normal float32 values, so that no backend flushes one to zero. */
export const MIN_SCALE = 2 ** -126;
export const MAX_SCALE = (2 - 2 ** -23) * 2 ** 127;

/** Elements of a row that coding 1 models: 16 keep the work per row in proportion, 2^18 bound the memory of columns. */
export const MIN_WIDTH = 16;
export const MAX_WIDTH = 262_144;
