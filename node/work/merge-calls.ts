import { readFile } from 'node:fs/promises';
import type { MatrixEngine } from '../../src/compute/index.ts';
import { createEngine } from '../../src/compute/index.ts';
import type { Charter } from '../../src/log/index.ts';
import { charterLinear, charterTable, decodeCharter } from '../../src/log/index.ts';
import type { FoldInput, MergeEngineOptions } from '../../src/merge/index.ts';
import { exportMerged, foldStep, withPayloadUpdate } from '../../src/merge/index.ts';
import type { RunOptions } from '../../src/run-options.ts';
import { openCheckpoint } from '../../src/tensors/index.ts';

export interface MergeWorkerData {
  /** Path of the charter. */
  readonly charter: string;
  readonly engine: MergeEngineOptions;
}

/** Notices of a device that are kept until somebody asks. One that fails again and again says the same. */
const NOTICES_MAX = 16;

/** The calls of the merge worker: the fold and the export, away from the event loop. */
export function mergeCalls(
  data: MergeWorkerData,
  { openEngine = createEngine }: { openEngine?: typeof createEngine } = {},
) {
  let loaded: Promise<{ charter: Charter; engine: MatrixEngine }> | undefined;
  const notices: string[] = [];
  const onNotice = (notice: string) => {
    if (notices.length < NOTICES_MAX) notices.push(notice);
  };
  const start = async () => ({
    charter: decodeCharter(await readFile(data.charter)),
    engine: await openEngine(data.engine, { onNotice }),
  });
  const load = () => {
    loaded ??= start().catch((error: unknown) => {
      // Not kept: what failed once (too many open files, say) may work the next time.
      loaded = undefined;
      throw error;
    });
    return loaded;
  };

  const calls = {
    /** What does the matrix work now, and why; and what became of a device since the last call. */
    async engine() {
      const { device, description, eigensolver } = (await load()).engine;
      return { device, description, eigensolver, notices: notices.splice(0) };
    },

    /** Folds one accepted update into a state directory. */
    async fold(job: { from: string | null; to: string; payload: string }, options: RunOptions) {
      const { charter, engine } = await load();
      return foldPayload({ ...job, charter, engine, memory: data.engine.memory }, options);
    },

    /** Writes the merged checkpoint of a state as a Hugging Face directory. */
    async export(
      job: { state: string | null; base: string; scale: number; out: string; metadata: Record<string, string> },
      options: RunOptions,
    ) {
      const base = await openCheckpoint(job.base, options);
      try {
        const { state, scale, out, metadata } = job;
        // Only what the charter names: the checkpoint is then the same whatever else lies beside this node's base.
        const sideFiles = (await load()).charter.base.sideFiles.map(({ name }) => name);
        return await exportMerged({ state, base, scale, out, metadata, sideFiles }, options);
      } finally {
        await base.close();
      }
    },
  };
  const release = async () => {
    const started = await loaded?.catch(() => undefined);
    await started?.engine.close();
  };
  return { calls, release };
}

export type MergeCalls = ReturnType<typeof mergeCalls>['calls'];

/** A fold step whose update is a payload file, under the rule of a charter. */
export interface PayloadStep extends Pick<FoldInput, 'from' | 'to' | 'engine' | 'memory' | 'splitRanks'> {
  /** Path. */
  readonly payload: string;
  readonly charter: Charter;
}

/** One fold step by a payload; shared by the daemon's worker and by `verify`. */
export async function foldPayload(job: PayloadStep, options: RunOptions) {
  const table = charterTable(job.charter);
  const linear = new Set(charterLinear(job.charter));
  return withPayloadUpdate(job.payload, table, options, (update) =>
    foldStep(
      {
        from: job.from,
        to: job.to,
        tensors: table.map(({ name, shape }) => ({ name, shape, linear: linear.has(name) })),
        update,
        rule: { variant: job.charter.merge.variant, alpha: job.charter.merge.alpha },
        engine: job.engine,
        memory: job.memory,
        splitRanks: job.splitRanks,
      },
      options,
    ),
  );
}
