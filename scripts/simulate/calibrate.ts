import { setTimeout as sleep } from 'node:timers/promises';
import { type GossipNumbers, GossipObservation } from './observation.ts';
import { DEFAULTS, type SimulationOptions } from './options.ts';
import { RealNodes } from './real-nodes.ts';
import { simulate } from './simulation.ts';

export const CALIBRATION_NODES = 10;
const UPDATES = 20;
const INTERVAL_MS = 1_000;
/** Milliseconds for the meshes to form, and for all to agree at the end. */
const WARM_UP_MS = 12_000;
const PATIENCE_MS = 30_000;
const REAL_RUNS = 3;
const MODEL_RUNS = 5;
/** Densities of the real payloads: below and above the size from which IDONTWANT is sent. */
const DENSITIES = { small: 0.003, large: 0.03 } as const;

export interface Calibration {
  readonly payload: keyof typeof DENSITIES;
  /** Bytes of the payloads, mean. */
  readonly bytes: number;
  readonly real: readonly GossipNumbers[];
  readonly model: readonly GossipNumbers[];
}

/** The same updates through real nodes on loopback and through the model. */
export async function calibrate(say: (line: string) => void): Promise<Calibration[]> {
  const calibrations: Calibration[] = [];
  for (const payload of ['small', 'large'] as const) {
    const runs: { bytes: number; numbers: GossipNumbers }[] = [];
    for (let run = 0; run < REAL_RUNS; run++) {
      say(`${payload} payloads: ${CALIBRATION_NODES} real nodes, run ${run + 1} of ${REAL_RUNS}`);
      runs.push(await realRun(DENSITIES[payload]));
    }
    const bytes = Math.round(runs.reduce((sum, run) => sum + run.bytes, 0) / runs.length);
    const model: GossipNumbers[] = [];
    for (let run = 0; run < MODEL_RUNS; run++) {
      say(`${payload} payloads: the model, run ${run + 1} of ${MODEL_RUNS}`);
      model.push(await modelRun(bytes, `calibration ${run}`));
    }
    calibrations.push({ payload, bytes, real: runs.map(({ numbers }) => numbers), model });
  }
  return calibrations;
}

async function realRun(density: number): Promise<{ bytes: number; numbers: GossipNumbers }> {
  const observer = new GossipObservation();
  const nodes = await RealNodes.start(CALIBRATION_NODES, { observer });
  try {
    await sleep(WARM_UP_MS);
    observer.begin();
    let bytes = 0;
    for (let n = 0; n < UPDATES; n++) {
      bytes += await nodes.contribute(n % CALIBRATION_NODES, `update ${n}`, density);
      await sleep(INTERVAL_MS);
    }
    for (let waited = 0; !nodes.agree(UPDATES); waited += INTERVAL_MS) {
      if (waited > PATIENCE_MS) throw new Error('the real nodes did not agree: is the machine very busy?');
      await sleep(INTERVAL_MS);
    }
    await sleep(INTERVAL_MS);
    return { bytes: bytes / UPDATES, numbers: observer.numbers(CALIBRATION_NODES, UPDATES) };
  } finally {
    await nodes.stop();
  }
}

async function modelRun(payloadBytes: number, seed: string): Promise<GossipNumbers> {
  const observer = new GossipObservation();
  const options: SimulationOptions = {
    ...DEFAULTS,
    seed,
    nodes: CALIBRATION_NODES,
    authors: CALIBRATION_NODES,
    updates: UPDATES,
    intervalMs: INTERVAL_MS,
    regular: true,
    warmUpMs: WARM_UP_MS,
    // Loopback.
    latencyMs: 0.5,
    uploadMbit: 10_000,
    payloadBytes,
    large: 0,
  };
  await simulate(options, { observer });
  return observer.numbers(CALIBRATION_NODES, UPDATES);
}

const ROWS: readonly (readonly [keyof GossipNumbers, string])[] = [
  ['updateCopies', 'copies of an update that a node receives'],
  ['headCopies', 'copies of a head that a node receives'],
  ['headsPerUpdate', 'heads gossiped for an update'],
  ['idontwant', 'IDONTWANT ids per node and update'],
  ['ihave', 'IHAVE ids per node and update'],
  ['iwant', 'IWANT ids per node and update'],
  ['bytes', 'gossip bytes per node and update'],
  ['hops', 'steps to a node, mean'],
  ['maxHops', 'steps to a node, most'],
  ['reached', 'share of the nodes that gossip reached'],
];

/** The tables of the documentation: means, and what the runs range over. */
export function renderCalibration(calibrations: readonly Calibration[]): string {
  return calibrations
    .map(({ payload, bytes, real, model }) => {
      const cell = (runs: readonly GossipNumbers[], key: keyof GossipNumbers) => {
        const values = runs.map((run) => run[key]);
        const text = (value: number) => (value >= 100 ? value.toFixed(0) : value.toFixed(2));
        const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
        return `${text(mean)} (${text(Math.min(...values))} – ${text(Math.max(...values))})`;
      };
      return [
        `${payload} payloads, ${bytes} bytes`,
        '',
        `| | ${real.length} real runs | ${model.length} runs of the model |`,
        '|---|---|---|',
        ...ROWS.map(([key, what]) => `| ${what} | ${cell(real, key)} | ${cell(model, key)} |`),
        '',
      ].join('\n');
    })
    .join('\n');
}
