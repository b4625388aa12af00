import type { Charter } from './charter.ts';
import { elementsOf } from './charter-fields.ts';
import { FLOAT_DTYPES } from './dtypes.ts';

/** One float tensor of a charter; a payload names it by its position in the table. */
export interface CharterTableTensor {
  readonly name: string;
  readonly shape: readonly number[];
  readonly elements: number;
}

/** The float tensors in charter order: the tensor table of payloads. */
export function charterTable(charter: Charter): readonly CharterTableTensor[] {
  return floatTensors(charter).map(({ name, shape }) => ({ name, shape: [...shape], elements: elementsOf(shape) }));
}

/** Names of the tensors that are merged by projection, in charter order. */
export function charterLinear(charter: Charter): readonly string[] {
  return floatTensors(charter)
    .filter((tensor) => tensor.linear)
    .map((tensor) => tensor.name);
}

function floatTensors(charter: Charter): Charter['base']['tensors'] {
  return charter.base.tensors.filter((tensor) => FLOAT_DTYPES.has(tensor.dtype));
}
