import { readFile } from 'node:fs/promises';
import { CHOICE_DENSITIES, encodeFinetune, type FinetuneInput } from '../../src/choose/index.ts';
import type { PayloadMeasure, PayloadReader, TensorTable } from '../../src/codec/index.ts';
import { checkPayload, isPayloadFault, openPayload } from '../../src/codec/index.ts';
import type { MeasuredPayload, Pair } from '../../src/kinship/index.ts';
import { measurePairs } from '../../src/kinship/index.ts';
import type { Charter } from '../../src/log/index.ts';
import { charterTable, decodeCharter } from '../../src/log/index.ts';
import type { RunOptions } from '../../src/run-options.ts';

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
  let loaded: Promise<Charter> | undefined;
  const loadCharter = () => {
    loaded ??= readFile(data.charter)
      .then(decodeCharter)
      .catch((error: unknown) => {
        // Not kept: what failed once (too many open files, say) may work the next time.
        loaded = undefined;
        throw error;
      });
    return loaded;
  };
  let table: TensorTable | undefined;
  const loadTable = async () => {
    table ??= charterTable(await loadCharter());
    return table;
  };

  return {
    /** Encodes a fine-tune to a payload file, by the charter's settings where nothing else is chosen. */
    async encode(
      { out, ...job }: Pick<FinetuneInput, 'base' | 'finetune' | 'choice' | 'evaluation' | 'align'> & { out: string },
      options: RunOptions,
    ) {
      const charter = await loadCharter();
      const defaults = charter.codec.encoder;
      const { maxDensity } = charter.admission;
      // What admission would decline is not chosen.
      const admitted = CHOICE_DENSITIES.filter((density) => density <= maxDensity);
      const densities = admitted.length === 0 ? [maxDensity] : admitted;
      return encodeFinetune({ ...job, table: charterTable(charter), defaults, densities }, out, options);
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
