/** Bounds on what a file may make this process allocate. A test crosses each of them. */

/** Bytes of a safetensors header: the bound of the reference implementation. */
export const MAX_HEADER_BYTES = 100_000_000;

/** Tensors of one checkpoint: twice the largest index seen in public; keeps the tables below a few hundred MB. */
export const MAX_TENSORS = 1_000_000;

/** UTF-8 bytes of a tensor name: real ones stay below 200; names are repeated in charters and messages. */
export const MAX_NAME_BYTES = 1_024;

/**
 * Keys of `__metadata__`: trainers that write the most (every setting of a run) reach some hundreds. Keys are short, so
 * the bytes of a header alone would let through ten million.
 */
export const MAX_METADATA_KEYS = 65_536;

/** Unknown fields of one tensor that are passed over when asked; the format has none, and each is kept to find it twice. */
export const MAX_UNKNOWN_FIELDS = 64;

/** Keys of a shard index: published ones have two, `metadata` and `weight_map`; each is kept to find it twice. */
export const MAX_INDEX_KEYS = 64;

/** Dimensions of a tensor: that of PyTorch. */
export const MAX_RANK = 64;

/** Nesting of JSON values that are skipped: real files need 2; bounds the recursion. */
export const MAX_JSON_DEPTH = 64;

/** Bytes of a shard index: real ones reach 60 MB; the same bound as a header. */
export const MAX_INDEX_BYTES = 100_000_000;

/** Shards of one checkpoint: the largest public ones have some hundreds; each holds one open file. */
export const MAX_SHARDS = 1_000;

/** Bytes of one tensor that is read whole: an embedding of 262,144 x 16,384 in float32. Larger ones are for `chunks`. */
export const MAX_TENSOR_BYTES = 2 ** 34;

/** Bytes of one side file: tokenizers reach 35 MB. */
export const MAX_SIDE_FILE_BYTES = 64 * 2 ** 20;

/** Side files of one checkpoint: real directories have about a dozen. */
export const MAX_SIDE_FILES = 64;

/** Bytes of a chunk by default: large enough for the disk, small enough to hash without holding up an event loop. */
export const DEFAULT_CHUNK_BYTES = 2 ** 20;

/** Elements of one partial sum: sums of squares add blocks of this many first (docs/algorithms.md, section A). */
export const SUM_BLOCK_ELEMENTS = 65_536;

/** Bytes of an adapter's configuration: a pattern for each of 100,000 expert modules takes about 10 MB. */
export const MAX_ADAPTER_CONFIG_BYTES = 16 * 2 ** 20;

/** Keys of an adapter's configuration: PEFT writes about 50; each is kept to find it twice. */
export const MAX_ADAPTER_KEYS = 1_024;

/** Modules in `rank_pattern`, and in `alpha_pattern`: one for each of 128 experts' projections in 256 layers, and more. */
export const MAX_ADAPTER_PATTERNS = 131_072;
