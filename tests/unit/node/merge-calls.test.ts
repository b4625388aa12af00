import { expect, test } from 'vitest';
import { mergeCalls } from '../../../node/work/merge-calls.ts';
import { createEngine } from '../../../src/compute/index.ts';
import { makePond } from './support.ts';

test('the merge worker tells once what its engine said of a device', async () => {
  const { home } = await makePond();
  let notify: ((notice: string) => void) | undefined;
  const { calls, release } = mergeCalls(
    { charter: home.charter, engine: { device: 'cpu', workers: 1 } },
    {
      openEngine: (options, components) => {
        notify = components?.onNotice;
        return createEngine(options, components);
      },
    },
  );
  try {
    expect(await calls.engine()).toMatchObject({ device: 'cpu', notices: [] });
    for (let i = 0; i < 100; i++) notify!(`lost ${i}`);
    const { notices } = await calls.engine();
    expect(notices.slice(0, 2)).toEqual(['lost 0', 'lost 1']);
    expect(notices.length).toBeLessThan(100);
    expect((await calls.engine()).notices).toEqual([]);
  } finally {
    await release();
  }
});
