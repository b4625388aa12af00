import { KinmergeError } from '../../errors.ts';

/** What can be wrong with a LoRA adapter. */
export type AdapterErrorCode =
  /** Factors without the adapter_config.json that says how to scale them. */
  | 'ADAPTER_CONFIG_MISSING'
  /** adapter_config.json is above MAX_ADAPTER_CONFIG_BYTES. */
  | 'ADAPTER_CONFIG_TOO_LARGE'
  /** adapter_config.json is not what it should be (`fields.reason`, `fields.key` or `fields.kind`). */
  | 'ADAPTER_CONFIG_INVALID'
  /** A method, a variant or a tensor that is no plain LoRA (`fields.feature`). */
  | 'ADAPTER_UNSUPPORTED'
  /** The adapter holds no tensor at all. */
  | 'ADAPTER_EMPTY'
  /** Factors that do not belong together or contradict the configuration; `fields.faults` lists all of them. */
  | 'ADAPTER_FACTORS_INVALID'
  /** A square weight of which the adapter does not say whether it is stored transposed. */
  | 'ADAPTER_ORIENTATION_UNKNOWN'
  /** The adapter's names could mean several tensors of the base; `fields.prefixes` lists how. */
  | 'ADAPTER_AMBIGUOUS'
  /** The adapter belongs to another base; `fields.differences` lists every difference. */
  | 'ADAPTER_MISMATCH';

/** A LoRA adapter that cannot be read as a low-rank update of its base. */
export class AdapterError extends KinmergeError<AdapterErrorCode> {}
