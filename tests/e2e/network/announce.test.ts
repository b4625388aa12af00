import { afterEach, beforeEach, expect, test } from 'vitest';
import { BASE } from '../support/files.ts';
import { type DemoNode, Stage, terminate } from '../support/network.ts';

const TEST_MS = 120_000;

let stage: Stage;

beforeEach(async () => {
  stage = await Stage.open();
});

afterEach(() => stage.close());

/** The address in every join line that the daemon printed, without the peer's id. */
const told = ({ ready }: DemoNode) => ready.join.map((line) => line.replace(/^.*@/, '').replace(/\/p2p\/.*$/, ''));

test('join lines have the announced addresses: of this start, or those that join kept', {
  timeout: TEST_MS,
}, async () => {
  const charter = await stage.createVision8();
  const join = ['join', charter, '--base', BASE, '--listen', '/ip4/127.0.0.1/tcp/0'];
  const bad = await stage.attempt('ada', ...join, '--announce', '/ip4/0.0.0.0/tcp/4001');
  expect(bad).toMatchObject({ code: 2, document: { error: { code: 'USAGE' } } });

  await stage.cast.run('ada', ...join);
  const plain = await stage.cast.startDaemon('ada');
  expect(told(plain)).toEqual([expect.stringMatching(/^\/ip4\/127\.0\.0\.1\/tcp\/[1-9]\d*$/)]);
  await terminate(plain);

  await stage.cast.run(
    'ada',
    ...join,
    '--announce',
    '/dns4/ada.example.org/tcp/4001',
    '--announce',
    '/ip4/10.1.2.3/tcp/7',
  );
  // What is not said again stays.
  await stage.cast.run('ada', ...join);
  const kept = await stage.cast.startDaemon('ada');
  expect(told(kept)).toEqual(['/dns4/ada.example.org/tcp/4001', '/ip4/10.1.2.3/tcp/7']);
  await terminate(kept);

  const once = await stage.cast.startDaemon('ada', '--announce', '/dns4/elsewhere.example.org/tcp/9');
  expect(told(once)).toEqual(['/dns4/elsewhere.example.org/tcp/9']);
});
