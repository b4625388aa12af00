/**
 * Which keys of adapter_config.json change what the factors mean. The list follows PEFT 0.21 (`LoraConfig`), with keys
 * of earlier versions; what the library adds later is caught by the form of its name.
 */

/** Keys that must be off, and what they stand for. */
const VARIANTS: ReadonlyMap<string, string> = new Map([
  ['use_dora', 'DoRA, which also scales every column of the weight'],
  ['lora_bias', 'a bias beside the factors (lora_bias)'],
  ['layer_replication', 'layers that are repeated (layer_replication)'],
  ['trainable_token_indices', 'single token embeddings trained beside the factors (trainable_token_indices)'],
  ['target_parameters', 'factors of stacked parameters (target_parameters)'],
  ['alora_invocation_tokens', 'aLoRA, which acts on some tokens only'],
  ['alora_invocation_string', 'aLoRA, which acts on some tokens only'],
  ['use_qalora', 'QALoRA, whose factors act on pooled inputs'],
  ['use_bdlora', 'BD-LoRA, whose factors are block-diagonal'],
  ['arrow_config', 'Arrow routing between several adapters'],
  ['kasa_config', 'KaSA, which changes the base and has a diagonal between the factors'],
  ['monteclora_config', 'MonteCLoRA, which samples beside the factors'],
  ['megatron_config', 'factors that are split over machines (megatron_config)'],
  ['enable_lora', 'factors of merged layers (enable_lora)'],
]);

/** Configurations that matter while training or through `init_lora_weights` only. */
const HARMLESS_CONFIGS: ReadonlySet<string> = new Set([
  'corda_config',
  'eva_config',
  'loftq_config',
  'lora_ga_config',
  'runtime_config',
  'velora_config',
]);

/** Starting points that leave the base as it is. The others subtract what they start from from the base's weights. */
const PLAIN_STARTS: ReadonlySet<string> = new Set(['gaussian', 'eva', 'orthogonal', 'mica']);

/** What a key that is on stands for, where it is no plain LoRA; undefined for a harmless one. */
export function variantOf(key: string): string | undefined {
  const known = VARIANTS.get(key);
  if (known !== undefined) return known;
  const likeVariant = /^use_/.test(key) || (/_config$/.test(key) && !HARMLESS_CONFIGS.has(key));
  return likeVariant ? `something that kinmerge does not know (${key})` : undefined;
}

/** What `init_lora_weights` stands for where it changed the base. */
export function startOf(value: string): string | undefined {
  if (PLAIN_STARTS.has(value.toLowerCase())) return undefined;
  return `factors that belong to a changed base (init_lora_weights: ${value.slice(0, 40)})`;
}
