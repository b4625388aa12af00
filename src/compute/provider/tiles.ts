/** Matrices cut into tiles for devices whose buffers have a limit. */

/**
 * Longest side of a tile: 64 MiB of float32, half of the storage buffer that every WebGPU device must allow (128 MiB).
 * One side for all matrices: whatever two matrices share is then cut at the same places, and products go tile by tile.
 */
export const TILE_SIDE = 4096;

/** Rows [top, bottom) and columns [left, right) of a matrix. */
export interface TileRange {
  readonly top: number;
  readonly bottom: number;
  readonly left: number;
  readonly right: number;
}

/** Tiles along a side of `length`. */
export function tilesAlong(length: number, side: number): number {
  return Math.ceil(length / side);
}

/** The tiles of a rows x columns matrix, row by row of tiles. */
export function* tileRanges(rows: number, columns: number, side: number): Generator<TileRange> {
  for (let top = 0; top < rows; top += side) {
    for (let left = 0; left < columns; left += side) {
      yield { top, left, bottom: Math.min(top + side, rows), right: Math.min(left + side, columns) };
    }
  }
}

/**
 * One tile of a row-major matrix with `columns` columns, as float32. It is a part of `data` itself where it lies there
 * in one piece.
 */
export function cutTile(
  data: Float32Array | Float64Array,
  columns: number,
  { top, bottom, left, right }: TileRange,
): Float32Array {
  const width = right - left;
  if (width === columns) {
    const part = data.subarray(top * columns, bottom * columns);
    return part instanceof Float32Array ? part : Float32Array.from(part);
  }
  const tile = new Float32Array((bottom - top) * width);
  for (let row = top; row < bottom; row++) {
    tile.set(data.subarray(row * columns + left, row * columns + right), (row - top) * width);
  }
  return tile;
}

/** Puts a tile to its place in a row-major matrix with `columns` columns. */
export function placeTile(
  tile: Float32Array,
  data: Float32Array,
  columns: number,
  { top, bottom, left, right }: TileRange,
): void {
  const width = right - left;
  for (let row = top; row < bottom; row++) {
    data.set(tile.subarray((row - top) * width, (row - top + 1) * width), row * columns + left);
  }
}
