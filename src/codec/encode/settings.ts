import { CodecError } from '../errors.ts';
import type { ScaleMode, ScaleUnit } from '../types.ts';

/** What is kept of a task vector, and how large it decodes (docs/algorithms.md B.1). */
export interface EncoderSettings {
  /** Share of entries to keep, in (0, 1]. */
  readonly density: number;
  /** One selection and one scale for the whole vector, or one of each per tensor. */
  readonly mode: ScaleMode;
  /** What the scale is a multiple of: the deviation of the unpruned vector, or the mean kept magnitude. */
  readonly scaleUnit: ScaleUnit;
  /** The scale in that unit, above 0. */
  readonly scaleFactor: number;
}

/** @throws CodecError BAD_PARAMETER */
export function checkThreads(threads: number): void {
  if (Number.isInteger(threads) && threads >= 1) return;
  throw new CodecError('BAD_PARAMETER', `Threads: ${threads} is not a whole number from 1.`, { threads });
}

/** @throws CodecError BAD_PARAMETER */
export function checkSettings({ density, mode, scaleUnit, scaleFactor }: EncoderSettings): void {
  if (!(density > 0 && density <= 1)) {
    throw new CodecError('BAD_PARAMETER', `Density ${density} is not in (0, 1].`, { density });
  }
  if (!(scaleFactor > 0 && Number.isFinite(scaleFactor))) {
    throw new CodecError('BAD_PARAMETER', `Scale factor ${scaleFactor} is not a positive number.`, { scaleFactor });
  }
  if (mode !== 'global' && mode !== 'tensor') {
    throw new CodecError('BAD_PARAMETER', `Mode ${JSON.stringify(mode)} is neither global nor tensor.`, { mode });
  }
  if (scaleUnit !== 'deviation' && scaleUnit !== 'magnitude') {
    const text = `Scale unit ${JSON.stringify(scaleUnit)} is neither deviation nor magnitude.`;
    throw new CodecError('BAD_PARAMETER', text, { scaleUnit });
  }
}
