import { defineConfig } from 'vitest/config';

/**
 * Tests that take all cores by themselves for long (matrix work, a software driver, benchmarks), and tests of how long
 * something takes: beside others they would measure these.
 */
const ALONE = [
  'tests/e2e/bench.test.ts',
  'tests/e2e/offline-merge.test.ts',
  'tests/fault/bad-network.test.ts',
  'tests/fault/disk/kills.test.ts',
  'tests/fault/flood.test.ts',
  'tests/fault/fold-kill.test.ts',
  'tests/fault/partition.test.ts',
  'tests/integration/node/*event-loop.test.ts',
  'tests/unit/compute/*.test.ts',
];

export default defineConfig({
  test: {
    globalSetup: ['tests/support/webgpu.ts'],
    // Forked processes, not threads: native add-ons and worker threads run inside the tests.
    pool: 'forks',
    testTimeout: 30_000,
    hookTimeout: 30_000,
    projects: [
      {
        extends: true,
        test: {
          name: 'together',
          include: ['tests/**/*.test.ts'],
          exclude: ALONE,
          maxWorkers: 2,
          sequence: { groupOrder: 0 },
        },
      },
      { extends: true, test: { name: 'alone', include: ALONE, maxWorkers: 1, sequence: { groupOrder: 1 } } },
    ],
  },
});
