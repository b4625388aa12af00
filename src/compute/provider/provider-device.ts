/**
 * The large products on an execution provider of onnxruntime, in float32. Only for the child process of a device
 * (`device-child.ts`): a provider may end its process, and a second thread that uses it does.
 */
import * as ort from 'onnxruntime-node';
import type { DeviceMatrix, MatrixDevice } from '../device.ts';
import { ComputeError } from '../errors.ts';
import type { GraphName } from '../graphs.ts';
import { createSession, keepsResults, type Provider, type ResultPlace } from './provider-sessions.ts';
import { buildTileGraph, TILE_PLANS, type TileGraphName } from './tile-graphs.ts';
import { cutTile, placeTile, TILE_SIDE, tileRanges, tilesAlong } from './tiles.ts';

/**
 * Multiply-adds per slice: about a third of a second of a software Vulkan driver on two cores, the slowest device that
 * one would ask for; a graphics card takes less than a millisecond, which is what waiting for it costs. It never depends
 * on the machine, because sums are cut there.
 */
export const DEVICE_SLICE_PRODUCTS = 1e9;

/** Entries of a block of columns: 16 MiB, a few of which are in work at a time. */
export const DEVICE_BLOCK_ELEMENTS = 2 ** 22;

/** Columns of a block at least: narrower ones leave most of a graphics card idle. */
export const DEVICE_BLOCK_COLUMNS = 512;

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
  readonly blockElements = DEVICE_BLOCK_ELEMENTS;
  readonly blockColumns = DEVICE_BLOCK_COLUMNS;
  readonly #provider: Provider;
  readonly #tileSide: number;
  readonly #sessions = new Map<string, Promise<ort.InferenceSession>>();
  /** Tensors on the device. */
  readonly #live = new Set<ort.Tensor>();
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
      this.#dispose(tiles);
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
      this.#dispose(tiles);
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
    for (const { tiles } of matrices) this.#dispose(tiles);
  }

  /** Gives back what a call that was stopped left on the device. */
  releaseAll(): void {
    this.#dispose([...this.#live]);
    this.#queued = 0;
    this.#fence = null;
  }

  /** Tile (i, j) of the result. */
  async #tile(
    graph: GraphName,
    inputs: Readonly<Record<string, ProviderMatrix>>,
    i: number,
    j: number,
  ): Promise<ort.Tensor> {
    const { aTransposed, bTransposed, next } = TILE_PLANS[graph];
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
      sum = await this.#execute(l === 0 ? graph : next, feeds, 'device');
      // What the caller gave as C stays the caller's.
      if (l > 0 && before !== null) this.#dispose([before]);
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
      const { Y } = await (await this.#session(graph, results)).run(feeds);
      if (this.resident && results === 'device') this.#live.add(Y!);
      return Y!;
    } catch (error) {
      throw new ComputeError('RUNTIME_FAILED', `${this.#provider} could not run the graph ${graph}: ${String(error)}`, {
        provider: this.#provider,
        graph,
      });
    }
  }

  #dispose(tensors: readonly ort.Tensor[]): void {
    for (const tensor of tensors) if (this.#live.delete(tensor)) tensor.dispose();
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
