import type { AlignPolicy, EncodeInput, EncoderSettings, FloatSource, TensorTable } from '../codec/index.ts';
import type { EvaluatorInput, TaskScore } from '../evaluate/index.ts';
import type { BaseTensors } from './virtual.ts';

export interface ChooseInput {
  /** An open checkpoint. */
  readonly base: FloatSource & BaseTensors;
  /** A whole model, or a LoRA adapter of the base. */
  readonly finetune: EncodeInput['finetune'];
  readonly table: TensorTable;
  /**
   * Graph, heads and labelled test sets to choose by: samples that were used neither for training nor for the accuracy
   * that is reported later. Without it the choice goes by reconstruction.
   */
  readonly evaluation?: EvaluatorInput | undefined;
  /** Densities to choose from, each in (0, 1]. Default `CHOICE_DENSITIES`. */
  readonly densities?: readonly number[] | undefined;
  /** As for `encodeTaskVector`. */
  readonly align?: AlignPolicy | undefined;
  readonly threads?: EncodeInput['threads'] | undefined;
}

/** A setting that was evaluated. */
export interface EvaluatedSetting {
  readonly density: number;
  readonly scaleFactor: number;
  /** Size of the payload. */
  readonly bytes: number;
  /** Mean over the tasks, percent. */
  readonly accuracy: number;
  readonly tasks: Readonly<Record<string, TaskScore>>;
  /** Within one standard error of the best. */
  readonly good: boolean;
}

/** A density whose reconstruction was computed. */
export interface ReconstructedDensity {
  readonly density: number;
  /** The default factor of this density. */
  readonly scaleFactor: number;
  /**
   * What the update keeps of the task vector's sum of squares at its least-squares scales, as a share of what the best
   * density of the table keeps: 0 to 1.
   */
  readonly energy: number;
  /** At least `ENOUGH_ENERGY`. */
  readonly good: boolean;
}

interface Chosen {
  readonly settings: EncoderSettings;
  /** The rule by which `settings` were taken from `table`, a sentence for people. */
  readonly rule: string;
}

/** The table is ascending by density and then by factor. */
export type Choice = Chosen &
  (
    | {
        readonly by: 'evaluation';
        readonly table: readonly EvaluatedSetting[];
        /** Of the best setting's mean accuracy, in percentage points. */
        readonly standardError: number;
      }
    | { readonly by: 'reconstruction'; readonly table: readonly ReconstructedDensity[] }
  );
