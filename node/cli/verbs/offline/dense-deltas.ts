import { type Container, denseTensors } from '../../../../src/codec/index.ts';
import type { MergedDeltas } from '../../../../src/merge/index.ts';
import type { RunOptions } from '../../../../src/run-options.ts';

/** The tensors of an update with all their entries, to be read in one order and once. */
export interface DenseDeltas extends MergedDeltas {
  /** Ends the decoding, finished or not. */
  close(): Promise<void>;
}

/**
 * Decodes an update ahead of its use, on all cores.
 *
 * @param names - every tensor of the update's table, in the order in which they will be read
 */
export function denseDeltas(update: Container, names: Iterable<string>, { signal }: RunOptions): DenseDeltas {
  const { table, payload } = update;
  const sections = new Map(payload.sections.map((section) => [table[section.index]!.name, section]));
  const ordered = [...names].flatMap((name) => sections.get(name) ?? []);
  const stream = denseTensors(
    { sections: ordered, location: payload.location },
    signal === undefined ? {} : { signal },
  );
  const waiting = new Set(ordered.map(({ index }) => index));
  return {
    tensors: table,
    factor: 1,
    async read(index, out) {
      if (!waiting.delete(index)) {
        out.fill(0);
        return;
      }
      const { value, done } = await stream.next();
      if (done === true || value.index !== index) throw new RangeError(`tensor ${index} is read out of order`);
      out.set(value.values);
    },
    close: async () => void (await stream.return(undefined)),
  };
}
