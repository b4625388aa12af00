/** Tied weights: tensors that are one in the model, of which a file may store either name or both. */
import { createHash } from 'node:crypto';
import type { RunOptions } from '../run-options.ts';
import { type Dtype, dtypeBytes } from './dtype.ts';
import type { TensorBytes } from './same-values.ts';

/** Bytes that are read of a tensor before the whole of it: enough to tell layers apart, and one page of a disk. */
const PREFIX_BYTES = 4_096;

const NONE: readonly string[] = [];

/**
 * Finds tensors of one checkpoint that are byte for byte equal, by SHA-256. Only tensors of the same shape and dtype are
 * read, a prefix first, and each at most once as a whole: most of a model is never touched. Tensors whose elements are
 * all equal tie nothing: every zero bias would be a copy of every other.
 */
export class TiedTensors {
  readonly #source: TensorBytes;
  readonly #options: RunOptions;
  readonly #groups = new Map<string, string[]>();
  /** By form and prefix, and by form and content; each list is made once and keeps the candidates' order. */
  readonly #alike = new Map<string, Map<string, string[]>>();
  readonly #equal = new Map<string, Map<string, string[]>>();
  readonly #prefixes = new Map<string, string>();
  readonly #contents = new Map<string, string>();

  /** @param candidates - the names that may be found, best first */
  constructor(source: TensorBytes, candidates: Iterable<string>, options: RunOptions = {}) {
    this.#source = source;
    this.#options = options;
    for (const name of candidates) push(this.#groups, this.#form(name), name);
  }

  /**
   * The candidates that equal a tensor of the checkpoint, in their order, itself among them if it is one. Equal tensors
   * get the same list.
   */
  async equalTo(name: string): Promise<readonly string[]> {
    const form = this.#form(name);
    const group = this.#groups.get(form);
    if (group === undefined) return NONE;
    const prefix = await this.#prefix(name);
    const alike = await sortOnce(this.#alike, form, group, (other) => this.#prefix(other));
    const near = alike.get(prefix);
    if (near === undefined) return NONE;
    const content = await this.#content(name);
    if (content === '') return NONE;
    const equal = await sortOnce(this.#equal, `${form} ${prefix}`, near, (other) => this.#content(other));
    return equal.get(content) ?? NONE;
  }

  #form(name: string): string {
    const info = this.#source.tensors.get(name);
    return info === undefined ? '' : `${info.dtype} ${info.shape.join()}`;
  }

  /** A digest of the first bytes: these themselves, of a hundred thousand tensors, would fill the memory. */
  async #prefix(name: string): Promise<string> {
    const known = this.#prefixes.get(name);
    if (known !== undefined) return known;
    const hash = createHash('sha256');
    for await (const chunk of this.#chunks(name, PREFIX_BYTES)) {
      hash.update(chunk);
      break;
    }
    const digest = hash.digest('base64');
    this.#prefixes.set(name, digest);
    return digest;
  }

  /** A digest of all bytes; empty where every element has the same. */
  async #content(name: string): Promise<string> {
    const known = this.#contents.get(name);
    if (known !== undefined) return known;
    const size = dtypeBytes(this.#source.tensors.get(name)!.dtype as Dtype);
    const hash = createHash('sha256');
    let first: Buffer | undefined;
    let constant = true;
    for await (const chunk of this.#chunks(name)) {
      hash.update(chunk);
      const bytes = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
      first ??= bytes.subarray(0, size);
      // A chunk that equals itself one element on repeats its first element.
      constant &&= bytes.subarray(0, size).equals(first) && bytes.subarray(size).equals(bytes.subarray(0, -size));
    }
    const digest = constant ? '' : hash.digest('base64');
    this.#contents.set(name, digest);
    return digest;
  }

  #chunks(name: string, chunkBytes?: number): AsyncIterable<Uint8Array> {
    const { signal } = this.#options;
    return this.#source.chunks(name, { ...(chunkBytes !== undefined && { chunkBytes }), ...(signal && { signal }) });
  }
}

/** The lists of equal keys of some names, made at the first call. */
async function sortOnce(
  cache: Map<string, Map<string, string[]>>,
  id: string,
  names: readonly string[],
  keyOf: (name: string) => Promise<string>,
): Promise<Map<string, string[]>> {
  const known = cache.get(id);
  if (known !== undefined) return known;
  const lists = new Map<string, string[]>();
  for (const name of names) push(lists, await keyOf(name), name);
  cache.set(id, lists);
  return lists;
}

function push(lists: Map<string, string[]>, key: string, name: string): void {
  const list = lists.get(key);
  if (list === undefined) lists.set(key, [name]);
  else list.push(name);
}
