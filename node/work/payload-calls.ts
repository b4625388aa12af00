import { readFile } from 'node:fs/promises';
import type { PayloadMeasure, ScaleMode, TensorTable } from '../../src/codec/index.ts';
import { checkPayload, encodeTaskVector, isPayloadFault, openPayload } from '../../src/codec/index.ts';
import type { Pair } from '../../src/kinship/index.ts';
import { measurePair } from '../../src/kinship/index.ts';
import { charterTable, decodeCharter } from '../../src/log/index.ts';
import type { RunOptions } from '../../src/run-options.ts';
import { openCheckpoint } from '../../src/tensors/index.ts';

/** What a payload turned out to be: measured, or provably malformed (the same verdict on every node). */
export type PayloadVerdict =
  | { readonly ok: true; readonly measure: PayloadMeasure }
  | { readonly ok: false; readonly fault: string; readonly message: string };

/** The calls of the payload worker: everything that reads task vectors, away from the event loop. */
export function payloadCalls(data: { charter: string }) {
  let table: Promise<TensorTable> | undefined;
  const loadTable = () => {
    table ??= readFile(data.charter).then((bytes) => charterTable(decodeCharter(bytes)));
    return table;
  };

  return {
    /** Encodes a fine-tune to a payload file. */
    async encode(
      job: { base: string; finetune: string; density: number; scaleFactor: number; mode: ScaleMode; out: string },
      options: RunOptions,
    ) {
      const base = await openCheckpoint(job.base, options);
      try {
        const finetune = await openCheckpoint(job.finetune, options);
        try {
          const { density, scaleFactor, mode } = job;
          const input = { base, finetune, table: await loadTable(), density, scaleFactor, mode };
          return await encodeTaskVector(input, job.out, options);
        } finally {
          await finetune.close();
        }
      } finally {
        await base.close();
      }
    },

    /** Decodes a whole payload and measures it. */
    async check(job: { file: string }, options: RunOptions): Promise<PayloadVerdict> {
      try {
        return { ok: true, measure: await checkPayload(job.file, await loadTable(), options) };
      } catch (error) {
        if (!isPayloadFault(error)) throw error;
        return { ok: false, fault: error.code, message: error.message };
      }
    },

    /** Compares two measured payloads. */
    async pair(
      job: { a: string; b: string; measureA: PayloadMeasure; measureB: PayloadMeasure },
      options: RunOptions,
    ): Promise<Pair> {
      const tensors = await loadTable();
      const a = await openPayload(job.a, tensors);
      try {
        const b = await openPayload(job.b, tensors);
        try {
          return await measurePair(
            { payload: a, measure: job.measureA },
            { payload: b, measure: job.measureB },
            options,
          );
        } finally {
          await b.close();
        }
      } finally {
        await a.close();
      }
    },
  };
}

export type PayloadCalls = ReturnType<typeof payloadCalls>;
