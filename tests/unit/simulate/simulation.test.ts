import { describe, expect, test } from 'vitest';
import { DEFAULTS, parseCommand, type SimulationOptions } from '../../../scripts/simulate/options.ts';
import { type SimulationReport, simulate } from '../../../scripts/simulate/simulation.ts';

const SMALL: SimulationOptions = {
  ...DEFAULTS,
  nodes: 12,
  authors: 4,
  updates: 12,
  intervalMs: 1_000,
  seal: 3,
  revoke: 0.4,
};
/** Everything that can go wrong, at once. */
const BAD_DAY: SimulationOptions = {
  ...DEFAULTS,
  nodes: 14,
  authors: 6,
  updates: 14,
  seal: 4,
  revoke: 0.2,
  loss: 0.02,
  partition: { share: 0.5, fromMs: 2_000, toMs: 25_000 },
  churn: 12,
  liars: 3,
};

describe('a simulated network', { timeout: 120_000 }, () => {
  let usual: SimulationReport | undefined;
  const usualRun = async () => {
    usual ??= await simulate(SMALL);
    return usual;
  };

  test('agrees on one recipe, and every node holds every record and seal', async () => {
    const report = await usualRun();
    expect(report).toMatchObject({ converged: true, states: 1, records: SMALL.updates, pending: 0 });
    expect(report.seals).toBeGreaterThan(1);
    expect(report.revoked).toBeGreaterThan(0);
    expect(report.recipe).not.toBeNull();
    expect(report.convergenceMs).toBeLessThan(5_000);
    expect(report.propagation.worst).toBeLessThan(10_000);
  });

  test('the same seed gives the same events, another seed others', async () => {
    const report = await usualRun();
    expect(await simulate(SMALL)).toEqual(report);
    const other = await simulate({ ...SMALL, seed: 'another' });
    expect(other.digest).not.toBe(report.digest);
    expect(other.recipe).not.toBe(report.recipe);
  });

  test('agrees after a partition, with losses, nodes that come and go, and liars', async () => {
    const report = await simulate(BAD_DAY);
    expect(report).toMatchObject({ converged: true, states: 1 });
    expect(report.stops).toBeGreaterThan(0);
    expect(report.seals).toBeGreaterThan(0);
    expect(report.healed!.states).toBeGreaterThan(1);
    expect(report.healed!.reunitedMs).toBeGreaterThan(0);
    expect(report.agreedAt).toBeGreaterThan(report.healed!.at);
    expect(await simulate(BAD_DAY)).toEqual(report);
  });

  test('leaves the process its own clock', async () => {
    await usualRun();
    const before = performance.now();
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(performance.now() - before).toBeGreaterThan(10);
    expect(Math.abs(Date.now() - before - performance.timeOrigin)).toBeLessThan(60_000);
  });
});

describe('the command line of the simulator', () => {
  test('reads a partition', () => {
    const { options } = parseCommand(['--nodes', '200', '--seed', '7', '--partition', '0.5:5-65']);
    expect(options).toMatchObject({ nodes: 200, seed: '7', partition: { share: 0.5, fromMs: 5_000, toMs: 65_000 } });
  });

  test.each([
    [['--nodes', '1'], /--nodes is a number from 2/],
    [['--loss', '1'], /--loss is a number/],
    [['--partition', '2'], /--partition is SHARE/],
    [['--authors', '60', '--nodes', '50'], /--authors is a number from 1 to 50/],
    [['--sideways'], /--sideways/],
  ])('refuses %j', (args, message) => {
    expect(() => parseCommand(args)).toThrow(message);
  });
});
