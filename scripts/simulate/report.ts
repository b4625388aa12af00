import { SETTLE_MS, type SimulationReport } from './simulation.ts';
import { TRAFFIC_KINDS, type Traffic } from './trace.ts';

/** What is read first of a run, for people. */
export function renderReport(report: SimulationReport): string {
  const { options, traffic, idle, propagation, healed } = report;
  const { nodes, updates } = options;
  const seconds = (milliseconds: number) => `${(milliseconds / 1_000).toFixed(1)} s`;
  const lines = [
    report.converged
      ? `${nodes} nodes agreed on one recipe ${report.recipe}`
      : `${nodes} nodes did NOT agree: ${report.states} different states`,
    ...(healed === null
      ? []
      : [
          `the cut healed after ${seconds(healed.at)}, with ${healed.states} different states; ` +
            `${seconds(healed.reunitedMs)} later all had decided on what either side had contributed`,
        ]),
    `convergence ${seconds(report.convergenceMs)} after the last update${healed === null ? '' : ' and the heal'}`,
    `an update is decided on by half of the nodes after ${seconds(propagation.half)}, by 95 % after ` +
      `${seconds(propagation.most)}, by all after ${seconds(propagation.all)} (medians), at worst ${seconds(propagation.worst)}`,
    `${report.held} updates held, ${report.accepted} in the recipe, ${report.revoked} revoked, ${report.seals} seals, ` +
      `${report.pending} records wait; ${report.stops} nodes stopped and came back`,
    '',
    row(['', 'messages/node', 'kB/node', 'msg/node/update', 'kB/node/update', 'idle msg/node/min']),
    ...[...TRAFFIC_KINDS, 'all' as const].map((kind) => {
      const { messages, bytes } = total(traffic, kind);
      const quiet = total(idle, kind).messages / nodes / (SETTLE_MS / 60_000);
      const per = [messages, bytes / 1_000].map((count) => count / nodes);
      const perUpdate = per.map((count) => count / Math.max(1, updates));
      return row([kind, ...[...per, ...perUpdate, quiet].map((count) => count.toFixed(1))]);
    }),
    '',
    `${report.events} events, digest ${report.digest}`,
  ];
  return `${lines.join('\n')}\n`;
}

/** Messages and bytes of one kind, or of all. */
export function total(traffic: Traffic, kind: keyof Traffic | 'all'): { messages: number; bytes: number } {
  if (kind !== 'all') return traffic[kind];
  const sum = { messages: 0, bytes: 0 };
  for (const { messages, bytes } of Object.values(traffic)) {
    sum.messages += messages;
    sum.bytes += bytes;
  }
  return sum;
}

function row(cells: readonly string[]): string {
  return cells.map((cell, place) => (place === 0 ? cell.padEnd(10) : cell.padStart(18))).join('');
}
