/** Tables of steps: time, memory, rates, phases. */
import type { Cell } from '../benchmark.ts';
import type { Findings } from '../groups.ts';
import { median } from '../rounds.ts';
import { floorGflop, type Variant } from './floor.ts';
import type { Folded } from './fold-child.ts';
import { fastest, type Rate, rateRows } from './rate.ts';
import type { Backend } from './subject.ts';

const MIB = 2 ** 20;

/** The rounds of one step. */
export interface StepRounds {
  readonly shape: string;
  readonly variant: Variant;
  readonly backend: Backend;
  readonly rounds: readonly Folded[];
}

export function backendName({ device, eigensolver }: Backend): string {
  return `${device}, ${eigensolver}`;
}

/** Adds a table of the steps, one of their phases, and the records that both sum up. */
export function reportSteps(
  { tables, details }: Findings,
  title: string,
  steps: readonly StepRounds[],
  rate: Rate,
): void {
  const records = steps.map((step) => recordOf(step, rate));
  tables.push({
    title: `${title}, medians of ${steps[0]?.rounds.length ?? 0} rounds`,
    rows: records.map((record): Record<string, Cell> => {
      const { shape, variant, backend, seconds, idle, peak, gflop, floorSeconds } = record;
      return {
        shape,
        variant,
        backend,
        seconds,
        'peak MiB': peak / MIB,
        'above idle MiB': (peak - idle) / MIB,
        GFLOP: gflop,
        'GFLOP/s': gflop / seconds,
        '% of the rate': (100 * gflop) / seconds / fastest(rate),
        'floor s': floorSeconds,
        '/ floor': seconds / floorSeconds,
      };
    }),
  });
  const phases = records.flatMap(({ shape, variant, backend, phases }) =>
    phases.map(({ name, device, seconds, gflop }) => {
      return {
        shape,
        variant,
        backend,
        phase: name,
        device,
        seconds,
        GFLOP: gflop,
        'GFLOP/s': gflop > 0 ? gflop / seconds : null,
      };
    }),
  );
  tables.push({ title: `${title}: phases of the median round, seconds summed over threads`, rows: phases });
  tables.push({ title: `${title}: rates of matrix products in the same rounds`, rows: rateRows(rate) });
  details.steps = [...(details.steps ?? []), ...records.map((record) => ({ ...record, rate }))];
}

/** Figures of the round of median time; memory is the highest of all rounds. Bytes and seconds. */
function recordOf({ shape, variant, backend, rounds }: StepRounds, rate: Rate) {
  const seconds = median(rounds.map((round) => round.seconds));
  const middle = rounds.find((round) => round.seconds === seconds)!;
  const floor = floorGflop(variant, middle.matrices);
  return {
    shape,
    variant,
    backend: backendName(backend),
    description: middle.description,
    seconds,
    rounds: rounds.map((round) => round.seconds),
    idle: median(rounds.map((round) => round.idle)),
    peak: Math.max(...rounds.map((round) => round.peak)),
    /** By the phases' own count. */
    gflop: middle.phases.reduce((sum, phase) => sum + phase.gflop, 0),
    floorGflop: floor,
    floorSeconds: floor / fastest(rate),
    phases: middle.phases,
  };
}
