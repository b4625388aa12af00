/**
 * The large products on an execution provider of onnxruntime, in float32. Only for the child process of a device
 * (`device-child.ts`): a provider may end its process, and a second thread that uses it does.
 */
import * as ort from 'onnxruntime-node';
import type { DeviceMatrix, MatrixDevice } from './device.ts';
import { ComputeError } from './errors.ts';
import type { GraphName } from './graphs.ts';
import { createSession, keepsResults, type Provider, type ResultPlace } from './provider-sessions.ts';
import { buildTileGraph, TILE_PLANS, type TileGraphName } from './tile-graphs.ts';
import { cutTile, placeTile, TILE_SIDE, tileRanges, tilesAlong } from './tiles.ts';

/**
 * Multiply-adds per slice: about half a second of a software Vulkan driver on two cores, the slowest device that one
 * would ask for; a graphics card takes milliseconds. It never depends on the machine, because sums are cut there.
 */
export const DEVICE_SLICE_PRODUCTS = 2e9;

/** Entries of a panel: 16 MiB, a few of which are on their way at a time. */
export const DEVICE_PANEL_ELEMENTS = 2 ** 22;

/** A matrix as a grid of tiles, row by row. */
export interface ProviderMatrix extends DeviceMatrix {
  readonly tiles: readonly ort.Tensor[];
}

export interface ProviderDeviceOptions {
  readonly provider: Provider;
  /** Default: TILE_SIDE. */
  readonly tileSide?: number;
}

export class ProviderDevice implements MatrixDevice<ProviderMatrix> {
  readonly type = 'float32';
  readonly resident: boolean;
  readonly sliceProducts = DEVICE_SLICE_PRODUCTS;
  readonly panelElements = DEVICE_PANEL_ELEMENTS;
  readonly #provider: Provider;
  readonly #tileSide: number;
  readonly #sessions = new Map<string, Promise<ort.InferenceSession>>();
  /** Multiply-adds that were handed over since the device was last waited for. */
  #queued = 0;
  #fence: ort.Tensor | null = null;

  constructor({ provider, tileSide = TILE_SIDE }: ProviderDeviceOptions) {
    this.#provider = provider;
    this.#tileSide = tileSide;
    this.resident = keepsResults(provider);
  }

  async upload(data: Float32Array | Float64Array, rows: number, columns: number): Promise<ProviderMatrix> {
    const tiles: ort.Tensor[] = [];
    try {
      for (const range of tileRanges(rows, columns, this.#tileSide)) {
        const dims = [range.bottom - range.top, range.right - range.left];
        const host = new ort.Tensor('float32', cutTile(data, columns, range), dims);
        tiles.push(this.resident ? await this.#execute('copy', { A: host }, 'device') : host);
      }
    } catch (error) {
      dispose(tiles);
      throw error;
    }
    return { rows, columns, tiles };
  }

  async run(
    graph: GraphName,
    inputs: Readonly<Record<string, ProviderMatrix>>,
    rows: number,
    columns: number,
  ): Promise<ProviderMatrix> {
    const tiles: ort.Tensor[] = [];
    try {
      for (let i = 0; i < tilesAlong(rows, this.#tileSide); i++) {
        for (let j = 0; j < tilesAlong(columns, this.#tileSide); j++) tiles.push(await this.#tile(graph, inputs, i, j));
      }
    } catch (error) {
      dispose(tiles);
      throw error;
    }
    return { rows, columns, tiles };
  }

  async download({ rows, columns, tiles }: ProviderMatrix): Promise<Float32Array> {
    const parts: Float32Array[] = [];
    // A tensor on the device cannot be asked for its data: that ends the process.
    for (const tile of tiles) {
      const host = this.resident ? await this.#execute('copy', { A: tile }, 'host') : tile;
      parts.push(host.data as Float32Array);
    }
    this.#queued = 0;
    if (parts.length === 1) return parts[0]!;
    const whole = new Float32Array(rows * columns);
    let at = 0;
    for (const range of tileRanges(rows, columns, this.#tileSide)) placeTile(parts[at++]!, whole, columns, range);
    return whole;
  }

  release(...matrices: readonly ProviderMatrix[]): void {
    for (const { tiles } of matrices) if (this.resident) dispose(tiles);
  }

  /** Tile (i, j) of the result. */
  async #tile(
    graph: GraphName,
    inputs: Readonly<Record<string, ProviderMatrix>>,
    i: number,
    j: number,
  ): Promise<ort.Tensor> {
    const { aTransposed, bTransposed, first, next } = TILE_PLANS[graph];
    const a = inputs.A!;
    const b = inputs.B!;
    const c = inputs.C;
    const inner = aTransposed ? a.rows : a.columns;
    let sum = c === undefined ? null : this.#at(c, i, j);
    for (let l = 0; l < tilesAlong(inner, this.#tileSide); l++) {
      const left = aTransposed ? this.#at(a, l, i) : this.#at(a, i, l);
      const right = bTransposed ? this.#at(b, j, l) : this.#at(b, l, j);
      const before = sum;
      const feeds = { A: left, B: right, ...(before !== null && { C: before }) };
      sum = await this.#execute(before === null ? first : next, feeds, 'device');
      // What the caller gave as C stays the caller's.
      if (l > 0 && this.resident) before?.dispose();
      await this.#keepPace(left.size * (sum.dims[1] ?? 0));
    }
    return sum!;
  }

  #at({ columns, tiles }: ProviderMatrix, i: number, j: number): ort.Tensor {
    return tiles[i * tilesAlong(columns, this.#tileSide) + j]!;
  }

  /** A run only hands work over, so a caller that looks up between runs would run far ahead of the device. */
  async #keepPace(products: number): Promise<void> {
    if (!this.resident) return;
    this.#queued += products;
    if (this.#queued < this.sliceProducts) return;
    this.#fence ??= await this.#execute('copy', { A: new ort.Tensor('float32', [0], [1, 1]) }, 'device');
    await this.#execute('copy', { A: this.#fence }, 'host');
    this.#queued = 0;
  }

  async #execute(
    graph: TileGraphName,
    feeds: Readonly<Record<string, ort.Tensor>>,
    results: ResultPlace,
  ): Promise<ort.Tensor> {
    try {
      return (await (await this.#session(graph, results)).run(feeds)).Y!;
    } catch (error) {
      throw new ComputeError('RUNTIME_FAILED', `${this.#provider} could not run the graph ${graph}: ${String(error)}`, {
        provider: this.#provider,
        graph,
      });
    }
  }

  #session(graph: TileGraphName, results: ResultPlace): Promise<ort.InferenceSession> {
    const key = `${graph} ${results}`;
    let session = this.#sessions.get(key);
    if (session === undefined) {
      session = createSession(this.#provider, buildTileGraph(graph, this.type), results);
      this.#sessions.set(key, session);
    }
    return session;
  }
}

function dispose(tiles: readonly ort.Tensor[]): void {
  for (const tile of tiles) tile.dispose();
}
