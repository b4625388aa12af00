import { describe, expect, it } from 'vitest';
import { buildGraph, GRAPH_NAMES } from '../../../src/compute/graphs.ts';
import { encodeModel } from '../../../src/compute/onnx-model.ts';

describe('ONNX models built in code', () => {
  it('encodes every graph to the same bytes each time, different for each graph and type', () => {
    const bytes = GRAPH_NAMES.flatMap((name) =>
      (['float32', 'float64'] as const).map((type) => Buffer.from(encodeModel(buildGraph(name, type))).toString('hex')),
    );
    const again = GRAPH_NAMES.flatMap((name) =>
      (['float32', 'float64'] as const).map((type) => Buffer.from(encodeModel(buildGraph(name, type))).toString('hex')),
    );
    expect(again).toEqual(bytes);
    expect(new Set(bytes).size).toBe(2 * GRAPH_NAMES.length);
  });

  it('writes the fields where the format has them', () => {
    const bytes = encodeModel({
      name: 'g',
      nodes: [{ op: 'Gemm', inputs: ['a', 'b'], outputs: ['y'], ints: { transB: 1 }, floats: { alpha: -1 } }],
      inputs: [{ name: 'a', type: 'float64', shape: ['m', 3] }],
      outputs: [],
    });
    // IR version 8 (field 1), producer (field 2), ..., operator set 17 of the default domain (field 8).
    expect([...bytes.subarray(0, 4)]).toEqual([0x08, 8, 0x12, 8]);
    const text = Buffer.from(bytes).toString('hex');
    expect(text).toContain(Buffer.from('kinmerge').toString('hex'));
    // AttributeProto: name, i = 1, type = INT; and name, f = -1, type = FLOAT.
    expect(text).toContain(`0a06${Buffer.from('transB').toString('hex')}1801a00102`);
    expect(text).toContain(`0a05${Buffer.from('alpha').toString('hex')}15000080bfa00101`);
    // TypeProto: tensor type of element type 11 with a named and a fixed dimension.
    expect(text).toContain('080b12090a0312016d0a020803');
    // Operator set import: an empty domain is written or left out, version 17.
    expect(text).toMatch(/42(02|040a00)1011$/);
  });
});
