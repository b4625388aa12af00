/**
 * Builds ONNX models in code: the few message types that a graph of Gemm nodes needs, encoded with protobufjs.
 *
 * The field numbers are those of the `onnx` package's protocol buffer definition (IR version 8).
 */
import protobuf from 'protobufjs';

/** IR version 8 belongs to operator set 17 (ONNX 1.12); every onnxruntime since 1.12 reads both. */
const IR_VERSION = 8;
const OPSET_VERSION = 17;

/** `TensorProto.DataType` of the element types used here. */
const ELEMENT_TYPES = { float32: 1, float64: 11 } as const;
/** `AttributeProto.AttributeType` of the attribute kinds used here. */
const ATTRIBUTE_FLOAT = 1;
const ATTRIBUTE_INT = 2;

export type ElementType = keyof typeof ELEMENT_TYPES;

/** One value that enters or leaves a graph. A dimension given as text is dynamic; equal texts mean equal sizes. */
export interface GraphValue {
  readonly name: string;
  readonly type: ElementType;
  readonly shape: readonly (string | number)[];
}

/** An attribute is written as FLOAT when listed under `floats`, as INT under `ints`. */
export interface GraphNode {
  readonly op: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly ints?: Readonly<Record<string, number>>;
  readonly floats?: Readonly<Record<string, number>>;
}

export interface Graph {
  readonly name: string;
  readonly nodes: readonly GraphNode[];
  readonly inputs: readonly GraphValue[];
  readonly outputs: readonly GraphValue[];
}

const repeated = 'repeated' as const;

const root = protobuf.Root.fromJSON({
  nested: {
    ModelProto: {
      fields: {
        irVersion: { type: 'int64', id: 1 },
        producerName: { type: 'string', id: 2 },
        graph: { type: 'GraphProto', id: 7 },
        opsetImport: { rule: repeated, type: 'OperatorSetIdProto', id: 8 },
      },
    },
    OperatorSetIdProto: {
      fields: { domain: { type: 'string', id: 1 }, version: { type: 'int64', id: 2 } },
    },
    GraphProto: {
      fields: {
        node: { rule: repeated, type: 'NodeProto', id: 1 },
        name: { type: 'string', id: 2 },
        input: { rule: repeated, type: 'ValueInfoProto', id: 11 },
        output: { rule: repeated, type: 'ValueInfoProto', id: 12 },
      },
    },
    NodeProto: {
      fields: {
        input: { rule: repeated, type: 'string', id: 1 },
        output: { rule: repeated, type: 'string', id: 2 },
        name: { type: 'string', id: 3 },
        opType: { type: 'string', id: 4 },
        attribute: { rule: repeated, type: 'AttributeProto', id: 5 },
      },
    },
    AttributeProto: {
      fields: {
        name: { type: 'string', id: 1 },
        f: { type: 'float', id: 2 },
        i: { type: 'int64', id: 3 },
        type: { type: 'int32', id: 20 },
      },
    },
    ValueInfoProto: {
      fields: { name: { type: 'string', id: 1 }, type: { type: 'TypeProto', id: 2 } },
    },
    TypeProto: { fields: { tensorType: { type: 'TypeProtoTensor', id: 1 } } },
    TypeProtoTensor: {
      fields: { elemType: { type: 'int32', id: 1 }, shape: { type: 'TensorShapeProto', id: 2 } },
    },
    TensorShapeProto: { fields: { dim: { rule: repeated, type: 'Dimension', id: 1 } } },
    Dimension: { fields: { dimValue: { type: 'int64', id: 1 }, dimParam: { type: 'string', id: 2 } } },
  },
});

const ModelProto = root.lookupType('ModelProto');

/** The serialised ONNX model of a graph. The same graph gives the same bytes. */
export function encodeModel(graph: Graph): Uint8Array {
  const message = ModelProto.fromObject({
    irVersion: IR_VERSION,
    producerName: 'kinmerge',
    opsetImport: [{ domain: '', version: OPSET_VERSION }],
    graph: {
      name: graph.name,
      node: graph.nodes.map((node, index) => ({
        input: node.inputs,
        output: node.outputs,
        name: `${graph.name}.${index}`,
        opType: node.op,
        attribute: [
          ...Object.entries(node.ints ?? {}).map(([name, i]) => ({ name, i, type: ATTRIBUTE_INT })),
          ...Object.entries(node.floats ?? {}).map(([name, f]) => ({ name, f, type: ATTRIBUTE_FLOAT })),
        ],
      })),
      input: graph.inputs.map(valueInfo),
      output: graph.outputs.map(valueInfo),
    },
  });
  return ModelProto.encode(message).finish();
}

function valueInfo(value: GraphValue): object {
  return {
    name: value.name,
    type: {
      tensorType: {
        elemType: ELEMENT_TYPES[value.type],
        shape: {
          dim: value.shape.map((size) => (typeof size === 'string' ? { dimParam: size } : { dimValue: size })),
        },
      },
    },
  };
}
