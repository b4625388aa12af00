import { readFile } from 'node:fs/promises';
import type { PayloadMeasure, PayloadReader, ScaleMode, TensorTable } from '../../src/codec/index.ts';
import { checkPayload, encodeTaskVector, isPayloadFault, openPayload } from '../../src/codec/index.ts';
import type { MeasuredPayload, Pair } from '../../src/kinship/index.ts';
import { measurePairs } from '../../src/kinship/index.ts';
import { charterTable, decodeCharter } from '../../src/log/index.ts';
import type { RunOptions } from '../../src/run-options.ts';
import { openCheckpoint } from '../../src/tensors/index.ts';

/** What a payload turned out to be: measured, or provably malformed (the same verdict on every node). */
export type PayloadVerdict =
  | { readonly ok: true; readonly measure: PayloadMeasure }
  | { readonly ok: false; readonly fault: string; readonly message: string };

/** A payload file and what `check` measured of it. */
export interface MeasuredFile {
  readonly file: string;
  readonly measure: PayloadMeasure;
}

/**
 * Payloads that one is compared with in one call. Each is an open file; and their measures cross from thread to thread,
 * which costs the event loop about 0.1 ms each.
 */
export const PAIR_BATCH = 32;

/** The calls of the payload worker: everything that reads task vectors, away from the event loop. */
export function payloadCalls(data: { charter: string }) {
  let table: Promise<TensorTable> | undefined;
  const loadTable = () => {
    table ??= readFile(data.charter)
      .then((bytes) => charterTable(decodeCharter(bytes)))
      .catch((error: unknown) => {
        // Not kept: what failed once (too many open files, say) may work the next time.
        table = undefined;
        throw error;
      });
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

    /** Compares a measured payload with others, at most `PAIR_BATCH`. */
    async pairs(job: { one: MeasuredFile; others: readonly MeasuredFile[] }, options: RunOptions): Promise<Pair[]> {
      const tensors = await loadTable();
      const opened: PayloadReader[] = [];
      const open = async ({ file, measure }: MeasuredFile) => {
        const payload = await openPayload(file, tensors, options);
        opened.push(payload);
        return { payload, measure };
      };
      try {
        const one = await open(job.one);
        const others: MeasuredPayload[] = [];
        for (const other of job.others) others.push(await open(other));
        return await measurePairs(one, others, options);
      } finally {
        for (const payload of opened) await payload.close();
      }
    },
  };
}

export type PayloadCalls = ReturnType<typeof payloadCalls>;
