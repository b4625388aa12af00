/**
 * Whether this machine has an adapter for the webgpu tests: looked up once for a run of the tests, which says in one
 * line when they are left out. With KINMERGE_REQUIRE_WEBGPU=1, as in CI, they run and fail instead.
 */
import type { TestProject } from 'vitest/node';
import { installHint } from '../../src/compute/provider/install-hints.ts';
import { probeDevice } from '../../src/compute/provider/probe.ts';

declare module 'vitest' {
  interface ProvidedContext {
    /** Whether the webgpu tests run. */
    webgpu: boolean;
  }
}

export default async function setup(project: TestProject): Promise<void> {
  const required = process.env.KINMERGE_REQUIRE_WEBGPU === '1';
  const outcome = required ? null : await probeDevice('webgpu');
  project.provide('webgpu', outcome === null || outcome.works);
  if (outcome === null || outcome.works) return;
  process.stderr.write(`Skipped: the tests of the webgpu device (${outcome.reason}). ${installHint('webgpu')}\n`);
}
