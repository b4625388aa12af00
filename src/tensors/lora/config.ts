/** Reads adapter_config.json: strictly, and no more of it than the update depends on. */
import { isUtf8 } from 'node:buffer';
import type { RunOptions } from '../../run-options.ts';
import { quote } from '../errors.ts';
import { openRegularFile, readFully } from '../file.ts';
import { MAX_ADAPTER_CONFIG_BYTES, MAX_ADAPTER_KEYS, MAX_ADAPTER_PATTERNS, MAX_NAME_BYTES } from '../limits.ts';
import { SNIFF_BYTES, sniff } from '../sniff.ts';
import { type JsonFault, JsonReader } from '../strict-json.ts';
import { AdapterError } from './errors.ts';
import { ModulePatterns } from './patterns.ts';
import { startOf, variantOf } from './variants.ts';

export interface LoraConfig {
  /** `r` and `lora_alpha`: of the modules that no pattern names. */
  readonly rank: number;
  readonly alpha: number;
  readonly ranks: ModulePatterns;
  readonly alphas: ModulePatterns;
  /** alpha / sqrt(r) instead of alpha / r. */
  readonly rankStabilised: boolean;
  /** Weights are stored inputs first, as in the Conv1D of GPT-2. */
  readonly fanInFanOut: boolean;
  /** What the adapter calls its base; for messages. */
  readonly baseName: string | undefined;
}

/**
 * The scale of a module's product: alpha / rank, or alpha / sqrt(rank), in float64 as PEFT computes it.
 *
 * @param module - the module's name without `base_model.model.`
 */
export function scalingOf(config: LoraConfig, module: string, rank: number): number {
  const alpha = config.alphas.get(module) ?? config.alpha;
  return alpha / (config.rankStabilised ? Math.sqrt(rank) : rank);
}

/** @throws AdapterError ADAPTER_CONFIG_TOO_LARGE, ADAPTER_CONFIG_INVALID, ADAPTER_UNSUPPORTED; CheckpointError */
export async function readLoraConfig(path: string, options: RunOptions = {}): Promise<LoraConfig> {
  const { handle, size } = await openRegularFile(path);
  try {
    if (size > MAX_ADAPTER_CONFIG_BYTES) {
      const text = `${path}: ${size} bytes, above the ${MAX_ADAPTER_CONFIG_BYTES} of an adapter's configuration.`;
      throw new AdapterError('ADAPTER_CONFIG_TOO_LARGE', text, { path, size, limit: MAX_ADAPTER_CONFIG_BYTES });
    }
    const bytes = new Uint8Array(size);
    await readFully(handle, bytes, 0, path, options);
    return parseLoraConfig(bytes, path);
  } finally {
    await handle.close();
  }
}

/** @param source - for messages */
export function parseLoraConfig(bytes: Uint8Array, source: string): LoraConfig {
  const foreign = sniff(bytes.subarray(0, SNIFF_BYTES));
  if (foreign !== undefined && foreign.kind !== 'json') {
    throw invalid(source, `not a configuration but ${foreign.advice}`, { kind: foreign.kind });
  }
  if (!isUtf8(bytes)) throw invalid(source, 'not UTF-8. Save the adapter again.');
  return new ConfigParser(bytes, source).parse();
}

class ConfigParser {
  readonly #reader: JsonReader;
  readonly #source: string;
  readonly #ranks = new ModulePatterns();
  readonly #alphas = new ModulePatterns();
  #type: string | undefined;
  #rank = 8;
  #alpha = 8;
  #rankStabilised = false;
  #fanInFanOut = false;
  #baseName: string | undefined;

  constructor(bytes: Uint8Array, source: string) {
    this.#source = source;
    this.#reader = new JsonReader(bytes, (_fault: JsonFault, reason, offset) => {
      throw invalid(source, `byte ${offset}: ${reason}. Save the adapter again.`, { offset, reason });
    });
  }

  parse(): LoraConfig {
    const seen = new Set<string>();
    this.#reader.object((key) => {
      if (seen.has(key)) throw this.#wrong(key, 'occurs twice');
      if (seen.size === MAX_ADAPTER_KEYS) throw this.#wrong(key, `is one key more than ${MAX_ADAPTER_KEYS}`);
      seen.add(key);
      this.#entry(key);
    }, MAX_NAME_BYTES * 6);
    this.#reader.end();
    if (this.#type === undefined) throw this.#wrong('peft_type', 'is missing');
    return {
      rank: this.#rank,
      alpha: this.#alpha,
      ranks: this.#ranks,
      alphas: this.#alphas,
      rankStabilised: this.#rankStabilised,
      fanInFanOut: this.#fanInFanOut,
      baseName: this.#baseName,
    };
  }

  #entry(key: string): void {
    switch (key) {
      case 'peft_type':
        this.#type = this.#text(key);
        if (this.#type !== 'LORA') throw this.#unsupported(key, `the method ${quote(this.#type)}`);
        return;
      case 'r':
        this.#rank = this.#positive(key);
        return;
      case 'lora_alpha':
        this.#alpha = this.#finite(key);
        return;
      case 'rank_pattern':
        this.#patterns(key, this.#ranks, () => this.#positive(key));
        return;
      case 'alpha_pattern':
        this.#patterns(key, this.#alphas, () => this.#finite(key));
        return;
      case 'use_rslora':
        this.#rankStabilised = this.#flag(key);
        return;
      case 'fan_in_fan_out':
        this.#fanInFanOut = this.#flag(key);
        return;
      case 'bias': {
        const bias = this.#text(key);
        if (bias !== 'none') throw this.#unsupported(key, `trained biases (bias: ${quote(bias)})`);
        return;
      }
      case 'init_lora_weights': {
        const start = this.#textOrNothing();
        const feature = start === undefined ? undefined : startOf(start);
        if (feature !== undefined) throw this.#unsupported(key, feature);
        return;
      }
      case 'base_model_name_or_path':
        this.#baseName = this.#textOrNothing();
        return;
      default: {
        const feature = this.#isOn() ? variantOf(key) : undefined;
        if (feature !== undefined) throw this.#unsupported(key, feature);
      }
    }
  }

  #patterns(key: string, patterns: ModulePatterns, value: () => number): void {
    if (this.#reader.peek() === 'null') {
      this.#reader.null();
      return;
    }
    const seen = new Set<string>();
    this.#reader.object((pattern) => {
      if (seen.has(pattern)) throw this.#wrong(key, `has ${quote(pattern)} twice`);
      if (seen.size === MAX_ADAPTER_PATTERNS) throw this.#wrong(key, `has more than ${MAX_ADAPTER_PATTERNS} modules`);
      seen.add(pattern);
      if (patterns.add(pattern, value())) return;
      throw this.#unsupported(key, `a regular expression as a module's name (${key}: ${quote(pattern)})`);
    }, MAX_NAME_BYTES * 6);
  }

  /** Passes over a value, and tells whether it says anything: null, false and empty ones do not. */
  #isOn(): boolean {
    const kind = this.#reader.peek();
    if (kind === 'string') return this.#reader.string() !== '';
    let items = 0;
    if (kind === 'array') {
      this.#reader.array(() => {
        items++;
        this.#reader.skip();
      });
      return items > 0;
    }
    if (kind === 'object') {
      this.#reader.object(() => {
        items++;
        this.#reader.skip();
      });
      return items > 0;
    }
    this.#reader.skip();
    return kind === 'true' || kind === 'number';
  }

  #flag(key: string): boolean {
    const kind = this.#reader.peek();
    this.#reader.skip();
    if (kind === 'true' || kind === 'false' || kind === 'null') return kind === 'true';
    throw this.#wrong(key, `must be true or false, found ${kind}`);
  }

  #text(key: string): string {
    if (this.#reader.peek() !== 'string') throw this.#wrong(key, `must be text, found ${this.#reader.peek()}`);
    return this.#reader.string();
  }

  #textOrNothing(): string | undefined {
    if (this.#reader.peek() === 'string') return this.#reader.string();
    this.#reader.skip();
    return undefined;
  }

  #positive(key: string): number {
    if (this.#reader.peek() !== 'number') throw this.#wrong(key, `must be a number, found ${this.#reader.peek()}`);
    const value = this.#reader.uint();
    if (value === 0) throw this.#wrong(key, 'must be above 0');
    return value;
  }

  #finite(key: string): number {
    if (this.#reader.peek() !== 'number') throw this.#wrong(key, `must be a number, found ${this.#reader.peek()}`);
    const value = this.#reader.number();
    if (!Number.isFinite(value)) throw this.#wrong(key, 'is too large');
    return value;
  }

  #wrong(key: string, what: string): AdapterError {
    return invalid(this.#source, `${quote(key)} ${what}. Save the adapter again.`, { key });
  }

  #unsupported(key: string, feature: string): AdapterError {
    const text = `${this.#source}: the adapter uses ${feature}. Merge it into its base (\`merge_and_unload\`) and give the merged model.`;
    return new AdapterError('ADAPTER_UNSUPPORTED', text, { path: this.#source, key, feature });
  }
}

function invalid(source: string, reason: string, fields: Record<string, unknown> = {}): AdapterError {
  return new AdapterError('ADAPTER_CONFIG_INVALID', `${source}: ${reason}`, { path: source, reason, ...fields });
}
