/** The shapes that are folded. Names are those of the Hugging Face checkpoints. */

/** One tensor of a model; structurally what the fold takes. */
export interface ModelTensor {
  readonly name: string;
  readonly shape: readonly number[];
  /** Whether the projection applies. */
  readonly linear: boolean;
}

export interface Model {
  readonly name: string;
  /** In code-point order of names, as an update's table is. */
  readonly tensors: readonly ModelTensor[];
}

export function model(name: string, tensors: readonly ModelTensor[]): Model {
  return { name, tensors: [...tensors].sort((a, b) => (a.name < b.name ? -1 : 1)) };
}

const linear = (name: string, rows: number, columns: number): ModelTensor => ({
  name: `${name}.weight`,
  shape: [rows, columns],
  linear: true,
});
const other = (name: string, ...shape: number[]): ModelTensor => ({ name, shape, linear: false });
const norm = (name: string, width: number): ModelTensor[] => [
  other(`${name}.weight`, width),
  other(`${name}.bias`, width),
];
const dense = (name: string, rows: number, columns: number): ModelTensor[] => [
  linear(name, rows, columns),
  other(`${name}.bias`, rows),
];

/** Blocks of a vision transformer whose inner layer is four times as wide: ViT-B has width 768, ViT-L 1024. */
export function vitBlocks(name: string, width: number, blocks: number): Model {
  return model(name, blocksOf(width, blocks));
}

function blocksOf(width: number, blocks: number): ModelTensor[] {
  return Array.from({ length: blocks }, (_, block) => {
    const prefix = `vision_model.encoder.layers.${block}`;
    return [
      ...['q_proj', 'k_proj', 'v_proj', 'out_proj'].flatMap((part) =>
        dense(`${prefix}.self_attn.${part}`, width, width),
      ),
      ...dense(`${prefix}.mlp.fc1`, 4 * width, width),
      ...dense(`${prefix}.mlp.fc2`, width, 4 * width),
      ...norm(`${prefix}.layer_norm1`, width),
      ...norm(`${prefix}.layer_norm2`, width),
    ];
  }).flat();
}

export interface ClipVisionShape {
  readonly width: number;
  readonly layers: number;
  readonly patch: number;
  /** Patches of an image and one for its class. */
  readonly positions: number;
  readonly projection: number;
}

/** CLIP's ViT-B/32: 87,849,216 parameters, 73 matrices. */
export const VIT_B32: ClipVisionShape = { width: 768, layers: 12, patch: 32, positions: 50, projection: 512 };
/** The same architecture for a run that only has to be one. */
export const VIT_TINY: ClipVisionShape = { width: 32, layers: 2, patch: 4, positions: 5, projection: 16 };

/** CLIP's vision tower and its projection; the patches' convolution and the embeddings are no linear layers. */
export function clipVision(name: string, shape: ClipVisionShape): Model {
  const { width, layers, patch, positions, projection } = shape;
  return model(name, [
    other('vision_model.embeddings.class_embedding', width),
    other('vision_model.embeddings.patch_embedding.weight', width, 3, patch, patch),
    other('vision_model.embeddings.position_embedding.weight', positions, width),
    ...norm('vision_model.pre_layrnorm', width),
    ...norm('vision_model.post_layernorm', width),
    linear('visual_projection', projection, width),
    ...blocksOf(width, layers),
  ]);
}

/** Float32 bytes of the largest tensor. */
export function largestBytes({ tensors }: Model): number {
  return 4 * Math.max(...tensors.map(({ shape }) => elementsOf(shape)));
}

export function elementsOf(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}

export interface ShapeCount {
  readonly rows: number;
  readonly columns: number;
  readonly count: number;
}

/** The distinct shapes of the linear layers, and how many have each. */
export function matrixShapes({ tensors }: Model): ShapeCount[] {
  const found = new Map<string, ShapeCount>();
  for (const { shape, linear } of tensors) {
    if (!linear) continue;
    const [rows = 1, columns = 1] = shape;
    const key = `${rows} x ${columns}`;
    found.set(key, { rows, columns, count: (found.get(key)?.count ?? 0) + 1 });
  }
  return [...found.values()];
}
