/** What the names of an adapter's tensors say, as PEFT writes them. */
import { quote } from '../errors.ts';

/** `A` maps inputs to the rank, `B` the rank to outputs; of embeddings both are stored the other way round. */
export type FactorPart = 'A' | 'B' | 'embedding A' | 'embedding B';

export type AdapterKey =
  | { readonly kind: 'factor'; readonly module: string; readonly part: FactorPart }
  /** A tensor of the model itself, trained or copied whole. */
  | { readonly kind: 'full'; readonly name: string }
  | { readonly kind: 'unsupported'; readonly feature: string };

/** Before every name of a saved adapter; the model itself does not know it. */
const PREFIX = 'base_model.model.';

const FACTOR_ENDS: readonly (readonly [end: string, part: FactorPart])[] = [
  ['lora_A.weight', 'A'],
  ['lora_B.weight', 'B'],
  ['lora_embedding_A', 'embedding A'],
  ['lora_embedding_B', 'embedding B'],
];

export function parseAdapterKey(key: string): AdapterKey {
  const parts = (key.startsWith(PREFIX) ? key.slice(PREFIX.length) : key).split('.');
  // Wrappers of PEFT that stand between a module and its own weights.
  const own = parts.filter((part, i) => part !== 'base_layer' && !isSavedWrapper(parts, i));
  const name = own.join('.');
  for (const [end, part] of FACTOR_ENDS) {
    if (name === end) return { kind: 'factor', module: '', part };
    if (name.endsWith(`.${end}`)) return { kind: 'factor', module: name.slice(0, -end.length - 1), part };
  }
  const feature = own.map(featureOf).find((found) => found !== undefined);
  return feature === undefined ? { kind: 'full', name } : { kind: 'unsupported', feature };
}

/** The tensors of the base that a module's factors may belong to; the second is that of attention with one projection. */
export function weightNames(module: string): readonly string[] {
  const prefix = module === '' ? '' : `${module}.`;
  return [`${prefix}weight`, `${prefix}in_proj_weight`];
}

/** `classifier.modules_to_save.weight` and, of whole models' dictionaries, `classifier.modules_to_save.default.weight`. */
function isSavedWrapper(parts: readonly string[], i: number): boolean {
  return parts[i] === 'modules_to_save' || (parts[i] === 'default' && parts[i - 1] === 'modules_to_save');
}

function featureOf(part: string): string | undefined {
  if (part === 'lora_magnitude_vector') return 'DoRA, which also scales every column of the weight';
  if (part === 'lora_B' || part === 'lora_A') return 'a bias beside the factors, or factors with a name of their own';
  if (part === 'token_adapter' || part.startsWith('trainable_tokens')) return 'single token embeddings';
  return part.startsWith('lora_') ? `tensors that kinmerge does not know (${quote(part)})` : undefined;
}
