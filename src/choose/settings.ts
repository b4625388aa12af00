/** What an update is encoded with when nobody says otherwise. The evidence is in docs/vision8.md. */
import type { EncoderSettings } from '../codec/index.ts';

/** On eight experts the smallest density at which every way of measuring found the update as good as the original. */
export const DEFAULT_DENSITY = 0.2;

/**
 * 1 / sqrt(density), in units of the mean kept magnitude: a decoded tensor has the norm of one whose every entry has
 * that magnitude. It lies above the least-squares scale (1), with which an update goes only a part of the original's
 * way.
 */
export function defaultScaleFactor(density: number): number {
  return 1 / Math.sqrt(density);
}

/** The default form at a density: every tensor keeps its own largest entries, under a scale of its own. */
export function defaultSettings(density: number = DEFAULT_DENSITY): EncoderSettings {
  return { density, mode: 'tensor', scaleUnit: 'magnitude', scaleFactor: defaultScaleFactor(density) };
}

/** α of the paper's form, where a caller asks for deviations and names no factor: it suits a density of 20 %. */
export const DEFAULT_DEVIATION_FACTOR = 4;

/** What somebody chose of the settings; the rest follows. */
export type EncoderChoice = { readonly [Key in keyof EncoderSettings]?: EncoderSettings[Key] | undefined };

/**
 * Completes a choice. A factor that nobody chose is that of the defaults while density and unit are theirs; else it is
 * the default one for the density, or `DEFAULT_DEVIATION_FACTOR`.
 */
export function settingsOf(choice: EncoderChoice, defaults: EncoderSettings): EncoderSettings {
  const density = choice.density ?? defaults.density;
  const mode = choice.mode ?? defaults.mode;
  const scaleUnit = choice.scaleUnit ?? defaults.scaleUnit;
  const same = density === defaults.density && scaleUnit === defaults.scaleUnit;
  const usual = scaleUnit === 'magnitude' ? defaultScaleFactor(density) : DEFAULT_DEVIATION_FACTOR;
  const scaleFactor = choice.scaleFactor ?? (same ? defaults.scaleFactor : usual);
  return { density, mode, scaleUnit, scaleFactor };
}
