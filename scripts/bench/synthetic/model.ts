import type { TensorPlan } from '../../../src/tensors/layout.ts';

/** One tensor of a synthetic checkpoint, always BF16. The base is normal, with this mean and deviation. */
export interface SyntheticTensor extends TensorPlan {
  readonly dtype: 'BF16';
  readonly mean: number;
  readonly deviation: number;
}

/** How a task vector is drawn: Student's t with 4 degrees of freedom times scales of tensor, row and column. */
export interface TaskVectorLaw {
  /** Root mean square over the whole vector, before the fine-tune is rounded to BF16. */
  readonly rms: number;
  /** Deviations of the logarithms of the scales; 0 makes all of them 1. */
  readonly tensorSpread: number;
  readonly rowSpread: number;
  readonly columnSpread: number;
}

export interface SyntheticModel {
  readonly name: string;
  readonly seed: string;
  readonly tensors: readonly SyntheticTensor[];
  readonly law: TaskVectorLaw;
  /** Safetensors files per checkpoint. */
  readonly shards: number;
  /** Content of `config.json`. */
  readonly config: Readonly<Record<string, unknown>>;
}

/**
 * Full fine-tunes move most weights by less than one BF16 step and a few by many; 4e-4 against a base of deviation 0.02
 * leaves about a seventh of the entries unchanged after rounding. The spreads are such that payloads come about as far
 * below the bound of one density as those of the experts in tests/fixtures/vision8 do: at 10 %, 0.90 of it with one
 * selection for the whole vector and 0.97 with one per tensor.
 */
export const REALISTIC: TaskVectorLaw = { rms: 4e-4, tensorSpread: 0.3, rowSpread: 0.15, columnSpread: 0.15 };

const WEIGHT = { dtype: 'BF16', mean: 0, deviation: 0.02 } as const;
const GAIN = { dtype: 'BF16', mean: 1, deviation: 0.1 } as const;

export interface LlamaShape {
  readonly layers: number;
  readonly hidden: number;
  readonly intermediate: number;
  readonly heads: number;
  readonly keyValueHeads: number;
  readonly vocabulary: number;
}

/** TinyLlama-1.1B: 1,100,048,384 parameters. */
export const LLAMA_1B: LlamaShape = {
  layers: 22,
  hidden: 2048,
  intermediate: 5632,
  heads: 32,
  keyValueHeads: 4,
  vocabulary: 32_000,
};

/** The same architecture with 0.2 million parameters, for a run that only has to be one. */
export const LLAMA_TINY: LlamaShape = {
  layers: 3,
  hidden: 64,
  intermediate: 176,
  heads: 4,
  keyValueHeads: 1,
  vocabulary: 512,
};

/** The matrices of one decoder layer, as [outputs, inputs]. */
export function llamaMatrices(shape: LlamaShape): Readonly<Record<string, readonly [number, number]>> {
  const { hidden, intermediate } = shape;
  const keyValue = (hidden / shape.heads) * shape.keyValueHeads;
  return {
    'self_attn.q_proj': [hidden, hidden],
    'self_attn.k_proj': [keyValue, hidden],
    'self_attn.v_proj': [keyValue, hidden],
    'self_attn.o_proj': [hidden, hidden],
    'mlp.gate_proj': [intermediate, hidden],
    'mlp.up_proj': [intermediate, hidden],
    'mlp.down_proj': [hidden, intermediate],
  };
}

/** A Llama with its own output matrix, in two shards. */
export function llama(name: string, shape: LlamaShape): SyntheticModel {
  const { layers, hidden, vocabulary } = shape;
  const tensors: SyntheticTensor[] = [
    { name: 'model.embed_tokens.weight', shape: [vocabulary, hidden], ...WEIGHT },
    { name: 'model.norm.weight', shape: [hidden], ...GAIN },
    { name: 'lm_head.weight', shape: [vocabulary, hidden], ...WEIGHT },
  ];
  for (let layer = 0; layer < layers; layer++) {
    const prefix = `model.layers.${layer}`;
    for (const norm of ['input_layernorm', 'post_attention_layernorm']) {
      tensors.push({ name: `${prefix}.${norm}.weight`, shape: [hidden], ...GAIN });
    }
    for (const [matrix, dims] of Object.entries(llamaMatrices(shape))) {
      tensors.push({ name: `${prefix}.${matrix}.weight`, shape: dims, ...WEIGHT });
    }
  }
  const config = {
    architectures: ['LlamaForCausalLM'],
    model_type: 'llama',
    hidden_size: hidden,
    intermediate_size: shape.intermediate,
    num_hidden_layers: layers,
    num_attention_heads: shape.heads,
    num_key_value_heads: shape.keyValueHeads,
    vocab_size: vocabulary,
    tie_word_embeddings: false,
    torch_dtype: 'bfloat16',
  };
  return { name, seed: `${name} 1`, tensors, law: REALISTIC, shards: 2, config };
}

/** A vision transformer of ViT-B/16's shape without a head (`width` 768, 12 blocks: 85,798,656 parameters), one file. */
export function vit(name: string, { width, blocks }: { width: number; blocks: number }): SyntheticModel {
  const tensors: SyntheticTensor[] = [
    { name: 'cls_token', shape: [1, 1, width], ...WEIGHT },
    { name: 'pos_embed', shape: [1, 197, width], ...WEIGHT },
    { name: 'patch_embed.proj.weight', shape: [width, 3, 16, 16], ...WEIGHT },
    { name: 'patch_embed.proj.bias', shape: [width], ...WEIGHT },
    { name: 'norm.weight', shape: [width], ...GAIN },
    { name: 'norm.bias', shape: [width], ...WEIGHT },
  ];
  for (let block = 0; block < blocks; block++) {
    const prefix = `blocks.${block}`;
    for (const norm of ['norm1', 'norm2']) {
      tensors.push({ name: `${prefix}.${norm}.weight`, shape: [width], ...GAIN });
      tensors.push({ name: `${prefix}.${norm}.bias`, shape: [width], ...WEIGHT });
    }
    const matrices: [string, number, number][] = [
      ['attn.qkv', 3 * width, width],
      ['attn.proj', width, width],
      ['mlp.fc1', 4 * width, width],
      ['mlp.fc2', width, 4 * width],
    ];
    for (const [matrix, outputs, inputs] of matrices) {
      tensors.push({ name: `${prefix}.${matrix}.weight`, shape: [outputs, inputs], ...WEIGHT });
      tensors.push({ name: `${prefix}.${matrix}.bias`, shape: [outputs], ...WEIGHT });
    }
  }
  const config = { model_type: 'vit', hidden_size: width, num_hidden_layers: blocks, torch_dtype: 'bfloat16' };
  return { name, seed: `${name} 1`, tensors, law: REALISTIC, shards: 1, config };
}
