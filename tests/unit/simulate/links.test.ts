import { describe, expect, test } from 'vitest';
import { type LinkOptions, Links } from '../../../scripts/simulate/links.ts';

const OPTIONS: LinkOptions = { seed: 'links', latencyMs: 50, bytesPerMs: 1_000, loss: 0 };

function linksAt(options: Partial<LinkOptions> = {}) {
  const time = { now: 0 };
  return { time, links: new Links({ ...OPTIONS, ...options }, { now: () => time.now }) };
}

const lane = (from: number, to: number) => ({ from, to, last: 0 });

describe('the links between nodes', () => {
  test('take a delay that belongs to the pair, around the mean', () => {
    const { links } = linksAt();
    const delays = Array.from({ length: 200 }, (_, node) => links.delay(0, node + 1));
    expect(links.delay(7, 0)).toBe(links.delay(0, 7));
    expect(Math.min(...delays)).toBeGreaterThan(15);
    expect(Math.max(...delays)).toBeLessThan(85);
    expect(delays.reduce((sum, delay) => sum + delay, 0) / delays.length).toBeCloseTo(50, -1);
  });

  test('deliver in order what one connection sends, the short after the long', () => {
    const { links } = linksAt();
    const one = lane(0, 1);
    const long = links.send(one, 100_000);
    expect(long).toBeGreaterThan(100);
    expect(links.send(one, 10)).toBeGreaterThanOrEqual(long as number);
  });

  test('share one upload between all connections of a node', () => {
    const { links } = linksAt({ latencyMs: 0.001 });
    for (let peer = 1; peer < 10; peer++) links.send(lane(0, peer), 100_000);
    expect(links.send(lane(0, 10), 10)).toBeGreaterThan(900);
    expect(links.send(lane(1, 10), 10)).toBeLessThan(2);
  });

  test('carry nothing across a cut, and everything again after it', () => {
    const { links } = linksAt();
    links.cut((node) => node % 2);
    expect(links.send(lane(0, 1), 10)).toBe('stuck');
    expect(links.send(lane(0, 2), 10)).toBeTypeOf('number');
    links.heal();
    expect(links.send(lane(0, 1), 10)).toBeTypeOf('number');
  });

  test('send again what is lost, later, and give a connection up that loses too much', () => {
    const { links } = linksAt({ loss: 0.5 });
    const outcomes = Array.from({ length: 1_000 }, () => links.send(lane(0, 1), 10));
    const late = outcomes.filter((wait) => typeof wait === 'number' && wait > 200);
    expect(late.length).toBeGreaterThan(300);
    const lost = outcomes.filter((wait) => wait === 'lost').length;
    expect(lost).toBeGreaterThan(0);
    expect(lost).toBeLessThan(100);
  });
});
