import { parseArgs } from 'node:util';

/** What is simulated. Plain data; the same options and the same program give the same run. */
export interface SimulationOptions {
  readonly nodes: number;
  readonly seed: string;
  /** Updates that are contributed in all. */
  readonly updates: number;
  /** Nodes that contribute. */
  readonly authors: number;
  /** Mean time between two updates, in milliseconds. */
  readonly intervalMs: number;
  /** Whether all times between two updates are the same, instead of drawn. */
  readonly regular: boolean;
  /** Time from the start of the first node to the first update, in milliseconds. */
  readonly warmUpMs: number;
  /** Mean delay between two nodes in one direction, in milliseconds. */
  readonly latencyMs: number;
  /** Upload of a node, in megabits per second. */
  readonly uploadMbit: number;
  /** Probability that a message is lost and has to be sent again. */
  readonly loss: number;
  /** Bytes of a payload that travels in the announcement, and of one that is fetched. */
  readonly payloadBytes: number;
  readonly largeBytes: number;
  /** Share of the updates that have a large payload. */
  readonly large: number;
  /** The first node seals after so many accepted updates; 0 for never. */
  readonly seal: number;
  /** Share of the contributions that take an update of the same author out instead. */
  readonly revoke: number;
  /** The network is cut: this share of the nodes against the others, in milliseconds after the first update. */
  readonly partition: { readonly share: number; readonly fromMs: number; readonly toMs: number } | null;
  /** Honest nodes that stop in a minute; each comes back after some seconds. */
  readonly churn: number;
  /** Nodes that lie, of each kind in turn. */
  readonly liars: number;
  /** Milliseconds that the nodes may take to agree after the last update and the last fault. */
  readonly patienceMs: number;
}

export const DEFAULTS: SimulationOptions = {
  nodes: 50,
  seed: '1',
  updates: 50,
  authors: 20,
  intervalMs: 2_000,
  regular: false,
  warmUpMs: 30_000,
  latencyMs: 50,
  uploadMbit: 20,
  loss: 0,
  payloadBytes: 16 * 1024,
  largeBytes: 320 * 1024,
  large: 0.2,
  seal: 0,
  revoke: 0,
  partition: null,
  churn: 0,
  liars: 0,
  patienceMs: 600_000,
};

export const HELP = `npm run simulate -- [options]

  --nodes N            nodes (${DEFAULTS.nodes})
  --seed TEXT          what the run follows from (${DEFAULTS.seed})
  --updates N          updates in all (${DEFAULTS.updates})
  --authors N          nodes that contribute (${DEFAULTS.authors})
  --interval MS        mean time between two updates (${DEFAULTS.intervalMs})
  --latency MS         mean delay in one direction (${DEFAULTS.latencyMs})
  --upload MBIT        upload of a node, in Mbit/s (${DEFAULTS.uploadMbit})
  --loss P             probability that a message has to be sent again (${DEFAULTS.loss})
  --payload BYTES      payload that travels in the announcement (${DEFAULTS.payloadBytes})
  --large P            share of updates with ${DEFAULTS.largeBytes} bytes, which are fetched (${DEFAULTS.large})
  --seal N             the first node seals after N accepted updates (${DEFAULTS.seal}: never)
  --revoke P           share of contributions that take an own update out instead (${DEFAULTS.revoke})
  --partition S[:A-B]  cut the share S of the nodes off, from A to B seconds after the first update (0.5:10-70)
  --churn N            nodes that stop for a while, per minute (${DEFAULTS.churn})
  --liars N            nodes that withhold, forge or equivocate (${DEFAULTS.liars})
  --json               print one JSON document
  --calibrate          run 10 real nodes on loopback, and the model beside them
`;

export interface Command {
  readonly options: SimulationOptions;
  readonly json: boolean;
  readonly calibrate: boolean;
  readonly help: boolean;
}

/** @throws Error with what is wrong about the arguments */
export function parseCommand(args: readonly string[]): Command {
  const text = { type: 'string' } as const;
  const flag = { type: 'boolean', default: false } as const;
  const { values } = parseArgs({
    args: [...args],
    options: {
      nodes: text,
      seed: text,
      updates: text,
      authors: text,
      interval: text,
      latency: text,
      upload: text,
      loss: text,
      payload: text,
      large: text,
      seal: text,
      revoke: text,
      partition: text,
      churn: text,
      liars: text,
      json: flag,
      calibrate: flag,
      help: flag,
    },
  });
  const number = (name: string, value: string | undefined, otherwise: number, [least, most]: [number, number]) => {
    const parsed = value === undefined ? otherwise : Number(value);
    if (parsed >= least && parsed <= most) return parsed;
    throw new Error(`--${name} is a number from ${least} to ${most}, not ${value}`);
  };
  const many: [number, number] = [0, Number.MAX_SAFE_INTEGER];
  const nodes = number('nodes', values.nodes, DEFAULTS.nodes, [2, 10_000]);
  const options: SimulationOptions = {
    ...DEFAULTS,
    nodes,
    seed: values.seed ?? DEFAULTS.seed,
    updates: number('updates', values.updates, DEFAULTS.updates, many),
    authors: number('authors', values.authors, Math.min(nodes, DEFAULTS.authors), [1, nodes]),
    intervalMs: number('interval', values.interval, DEFAULTS.intervalMs, many),
    latencyMs: number('latency', values.latency, DEFAULTS.latencyMs, many),
    uploadMbit: number('upload', values.upload, DEFAULTS.uploadMbit, [0.001, Number.MAX_SAFE_INTEGER]),
    loss: number('loss', values.loss, DEFAULTS.loss, [0, 0.9]),
    payloadBytes: number('payload', values.payload, DEFAULTS.payloadBytes, [1, DEFAULTS.largeBytes]),
    large: number('large', values.large, DEFAULTS.large, [0, 1]),
    seal: number('seal', values.seal, DEFAULTS.seal, many),
    revoke: number('revoke', values.revoke, DEFAULTS.revoke, [0, 1]),
    churn: number('churn', values.churn, DEFAULTS.churn, many),
    liars: number('liars', values.liars, DEFAULTS.liars, [0, nodes - 1]),
    partition: values.partition === undefined ? null : parsePartition(values.partition),
  };
  return { options, json: values.json, calibrate: values.calibrate, help: values.help };
}

function parsePartition(text: string): SimulationOptions['partition'] {
  const [, share, from = '10', to = '70'] = /^(0?\.\d+)(?::(\d+)-(\d+))?$/.exec(text) ?? [];
  if (share === undefined || Number(from) >= Number(to)) {
    throw new Error(`--partition is SHARE or SHARE:FROM-TO, such as 0.5:10-70, not ${text}`);
  }
  return { share: Number(share), fromMs: Number(from) * 1_000, toMs: Number(to) * 1_000 };
}
