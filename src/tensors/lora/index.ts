/**
 * LoRA adapters as PEFT saves them, read as low-rank updates of a base.
 *
 * - `finetune.ts`: `openFinetune`, a whole model or an adapter
 * - `describe.ts`: `describeAdapter`, what an adapter says of itself without its base
 * - `adapter.ts`, `assemble.ts`: `openLoraAdapter`, and how an adapter's tensors find their places in the base
 * - `config.ts`, `variants.ts`, `patterns.ts`: adapter_config.json, and what of it is refused
 * - `names.ts`, `renaming.ts`, `factors.ts`: names, prefixes, shapes and orientations
 * - `product.ts`: values of factors, and the dense update
 */
export {
  ADAPTER_CONFIG_FILE,
  ADAPTER_FILE,
  type AdapterBase,
  type LoraAdapter,
  type OpenAdapterOptions,
  openLoraAdapter,
} from './adapter.ts';
export { type LoraConfig, parseLoraConfig } from './config.ts';
export { type AdapterDescription, type AdapterModule, describeAdapter } from './describe.ts';
export { AdapterError, type AdapterErrorCode } from './errors.ts';
export type { LoraFactor, LoraFactors } from './factors.ts';
export { adapterDirectory, type Finetune, openFinetune } from './finetune.ts';
export { multiply, readDelta, readFactor } from './product.ts';
