/** What stands beside weights: the index of shards, and an adapter's configuration. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { KinmergeError } from '../../src/errors.ts';
import {
  ADAPTER_CONFIG_FILE,
  ADAPTER_FILE,
  type Checkpoint,
  INDEX_FILE,
  openCheckpoint,
  openLoraAdapter,
  parseLoraConfig,
  readDelta,
} from '../../src/tensors/index.ts';
import { parseShardIndex } from '../../src/tensors/shard-index.ts';
import { entry, f32File, fileBytes } from '../unit/tensors/files.ts';
import { attempt } from './support/header-judge.ts';
import { edit, edits } from './support/header-samples.ts';
import { FUZZ_TIMEOUT, fuzzer } from './support/runs.ts';

const fuzz = fuzzer('files beside weights', 3);

const [FIRST, SECOND] = ['model-00001-of-00002.safetensors', 'model-00002-of-00002.safetensors'];
const INDEX = `{"metadata":{"total_size":12},"weight_map":{"b":"${FIRST}","a":"${SECOND}"}}`;
const CONFIG = `{"peft_type":"LORA","r":2,"lora_alpha":6,"bias":"none","use_rslora":false,"rank_pattern":{"q":2},"alpha_pattern":{"^m.q":3},"target_modules":["q"],"base_model_name_or_path":"x"}`;
const ADAPTER = `{${entry('base_model.model.m.q.lora_A.weight', 'F32', [2, 3], 0, 24)},${entry('base_model.model.m.q.lora_B.weight', 'F32', [4, 2], 24, 56)}}`;

let dir: string;
let base: Checkpoint;
let [sharded, adapter] = ['', ''];

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'kinmerge-fuzz-'));
  const path = join(dir, 'base.safetensors');
  await writeFile(path, fileBytes(`{${entry('m.q.weight', 'F32', [4, 3], 0, 48)}}`, 48));
  base = await openCheckpoint(path);
  sharded = await mkdtemp(join(dir, 'shards-'));
  await writeFile(join(sharded, FIRST), f32File('b', [1, 2]));
  await writeFile(join(sharded, SECOND), f32File('a', [3]));
  adapter = await mkdtemp(join(dir, 'adapter-'));
});

afterAll(async () => {
  await base.close();
  await rm(dir, { recursive: true, force: true });
});

/** The verdict of an attempt: a code, or what it is called when it went well. */
function verdictOf<T>(result: T | KinmergeError, well: string): string {
  return result instanceof KinmergeError ? result.code : well;
}

function plain(bytes: Uint8Array): Record<string, Record<string, unknown>> {
  return JSON.parse(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes));
}

test(
  'a mutated shard index is what JSON says it is, or refused with a code',
  async () => {
    await fuzz.run(0.3, edits, async (changes) => {
      const bytes = edit(Buffer.from(INDEX), changes);
      const index = await attempt(1_024, () => parseShardIndex(bytes, 'x'));
      if (!(index instanceof KinmergeError)) {
        expect(Object.fromEntries(index.weightMap)).toEqual(plain(bytes).weight_map);
        expect(new Set(index.shards)).toEqual(new Set(index.weightMap.values()));
      }
      return verdictOf(index, 'read');
    });
  },
  FUZZ_TIMEOUT,
);

test(
  'a mutated adapter configuration is what JSON says it is, or refused with a code',
  async () => {
    await fuzz.run(0.3, edits, async (changes) => {
      const bytes = edit(Buffer.from(CONFIG), changes);
      const config = await attempt(1_024, () => parseLoraConfig(bytes, 'x'));
      if (!(config instanceof KinmergeError)) {
        const { peft_type: type, r = 8, lora_alpha: alpha = 8 } = plain(bytes);
        expect({ type, r, alpha }).toEqual({ type: 'LORA', r: config.rank, alpha: config.alpha });
      }
      return verdictOf(config, 'read');
    });
  },
  FUZZ_TIMEOUT,
);

test(
  'a directory with a mutated index opens or is refused with a code',
  async () => {
    await fuzz.run(0.15, edits, async (changes) => {
      const index = Buffer.from(edit(Buffer.from(INDEX), changes));
      await writeFile(join(sharded, INDEX_FILE), index);
      // Index and headers once each, and what looks at their first bytes.
      const checkpoint = await attempt(8_192, () => openCheckpoint(sharded));
      if (!(checkpoint instanceof KinmergeError)) {
        // Edits can leave a sound index of one shard and its tensor: what opens is what the index says, and no more.
        const { weight_map } = JSON.parse(index.toString()) as { weight_map: Record<string, string> };
        expect([...checkpoint.tensors.keys()]).toEqual(Object.keys(weight_map).sort());
        await checkpoint.close();
      }
      return verdictOf(checkpoint, 'read');
    });
  },
  FUZZ_TIMEOUT,
);

test(
  'an adapter with mutated files gives an update or is refused with a code',
  async () => {
    const inputs = fc.tuple(fc.constantFrom('config', 'header', 'both'), edits, edits);
    await fuzz.run(0.25, inputs, async ([which, first, second]) => {
      const config = which === 'header' ? Buffer.from(CONFIG) : edit(Buffer.from(CONFIG), first);
      const header = which === 'config' ? Buffer.from(ADAPTER) : edit(Buffer.from(ADAPTER), second);
      await writeFile(join(adapter, ADAPTER_CONFIG_FILE), config);
      await writeFile(join(adapter, ADAPTER_FILE), fileBytes(header, 56));
      const opened = await attempt(8_192, () => openLoraAdapter(adapter, base));
      if (opened instanceof KinmergeError) return opened.code;
      try {
        const delta = await attempt(8_192, () => readDelta(opened, base, 'm.q.weight'));
        if (delta instanceof Float32Array) expect(delta.length).toBe(12);
        return verdictOf(delta, 'read');
      } finally {
        await opened.close();
      }
    });
  },
  FUZZ_TIMEOUT,
);
