/** Configurations of offline merges, in mergekit's YAML form. */
import { readFile, stat } from 'node:fs/promises';
import { parseDocument } from 'yaml';
import * as z from 'zod';
import type { FloatDtype } from '../tensors/index.ts';
import { MergeError } from './errors.ts';
import { MERGE_METHODS } from './registry.ts';

/** Bytes of a configuration: 1,000 models with long paths, and a list of every linear tensor of a large model. */
export const CONFIG_BYTES_MAX = 4 * 2 ** 20;
/** Models in one configuration: each is held open while merging. */
export const CONFIG_MODELS_MAX = 1_000;

/** The `dtype` of a configuration, and what it is called in a checkpoint. */
export const CONFIG_DTYPES = { float32: 'F32', bfloat16: 'BF16', float16: 'F16' } as const satisfies Record<
  string,
  FloatDtype
>;

export interface MergeConfig {
  readonly method: string;
  readonly base: string;
  readonly models: readonly { readonly path: string; readonly parameters: unknown }[];
  /** As the method's schema gives them, defaults filled in. */
  readonly parameters: unknown;
  /** The explicit list of linear tensors; null for the default rule. */
  readonly linear: readonly string[] | null;
  readonly dtype: FloatDtype;
}

const parameterMap = z.record(z.string(), z.unknown()).nullish();

const configSchema = z.strictObject({
  merge_method: z.string(),
  base_model: z.string().min(1),
  models: z
    .array(z.strictObject({ model: z.string().min(1), parameters: parameterMap }))
    .min(1)
    .max(CONFIG_MODELS_MAX),
  parameters: parameterMap,
  linear_tensors: z.array(z.string()).nullish(),
  dtype: z.enum(Object.keys(CONFIG_DTYPES) as (keyof typeof CONFIG_DTYPES)[]).default('float32'),
});

/** @throws MergeError `CONFIG_UNREADABLE`, `CONFIG_INVALID` */
export async function readMergeConfig(path: string): Promise<MergeConfig> {
  let text: string;
  try {
    const { size } = await stat(path);
    if (size > CONFIG_BYTES_MAX) throw tooLarge(size);
    text = await readFile(path, 'utf8');
  } catch (error) {
    if (error instanceof MergeError) throw error;
    throw new MergeError('CONFIG_UNREADABLE', `Cannot read the configuration ${path}.`, { path }, { cause: error });
  }
  return parseMergeConfig(text);
}

/**
 * Parses and checks a configuration. Nothing is guessed: an unknown key is an error that names it.
 *
 * @throws MergeError `CONFIG_UNREADABLE` (not YAML), `CONFIG_INVALID`
 */
export function parseMergeConfig(text: string): MergeConfig {
  if (text.length > CONFIG_BYTES_MAX) throw tooLarge(text.length);
  const config = parse(configSchema, parseYaml(text), '');
  if (!Object.hasOwn(MERGE_METHODS, config.merge_method)) {
    throw new MergeError(
      'CONFIG_INVALID',
      `merge_method: there is no method '${config.merge_method}'. Known are: ${Object.keys(MERGE_METHODS).join(', ')}.`,
      { key: 'merge_method', value: config.merge_method },
    );
  }
  const method = MERGE_METHODS[config.merge_method]!;
  const { linear: nested, ...parameters } = config.parameters ?? {};
  if (nested !== undefined && nested !== null && config.linear_tensors) {
    throw new MergeError(
      'CONFIG_INVALID',
      'linear_tensors and parameters.linear say the same thing: keep one of them.',
      { key: 'parameters.linear' },
    );
  }
  const linear = config.linear_tensors ?? parse(z.array(z.string()).nullish(), nested, 'parameters.linear') ?? null;
  return {
    method: method.name,
    base: config.base_model,
    models: config.models.map(({ model, parameters: own }, i) => ({
      path: model,
      parameters: parse(method.modelParameters, own ?? {}, `models[${i}].parameters`),
    })),
    parameters: parse(method.parameters, parameters, 'parameters'),
    linear,
    dtype: CONFIG_DTYPES[config.dtype],
  };
}

function parseYaml(text: string): unknown {
  try {
    const document = parseDocument(text, { uniqueKeys: true, logLevel: 'silent' });
    const [error] = document.errors;
    if (error !== undefined) throw error;
    return document.toJS({ maxAliasCount: 100 });
  } catch (error) {
    throw new MergeError(
      'CONFIG_UNREADABLE',
      `The configuration is not YAML: ${error instanceof Error ? error.message : String(error)}`,
      {},
      { cause: error },
    );
  }
}

function parse<Schema extends z.ZodType>(schema: Schema, value: unknown, path: string): z.output<Schema> {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const issue = result.error.issues[0]!;
  const parts = issue.path.map((part) => (typeof part === 'number' ? `[${part}]` : `.${String(part)}`)).join('');
  const at = `${path}${parts}`.replace(/^\./, '');
  if (issue.code === 'unrecognized_keys') {
    const key = at === '' ? issue.keys[0]! : `${at}.${issue.keys[0]!}`;
    throw new MergeError('CONFIG_INVALID', `${key}: there is no such key. Remove it or correct its name.`, { key });
  }
  const key = at === '' ? 'configuration' : at;
  throw new MergeError('CONFIG_INVALID', `${key}: ${issue.message}.`, { key }, { cause: result.error });
}

function tooLarge(bytes: number): MergeError {
  return new MergeError(
    'CONFIG_UNREADABLE',
    `The configuration has ${bytes} bytes; ${CONFIG_BYTES_MAX} are the limit. List fewer tensors or models.`,
    { bytes, limit: CONFIG_BYTES_MAX },
  );
}
