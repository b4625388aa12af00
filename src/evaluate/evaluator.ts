import { stat } from 'node:fs/promises';
import type { RunOptions } from '../run-options.ts';
import { quote } from '../tensors/index.ts';
import { bindWeights, HEADS, readFeed } from './binding.ts';
import { EvaluateError } from './errors.ts';
import { feedTypeOf, sampleDims, toFeed } from './feeds.ts';
import { countCorrect } from './score.ts';
import { GraphSession } from './session.ts';
import { type OpenTestSet, openTestSet } from './test-set.ts';
import type { Evaluation, EvaluatorInput, GraphPort, TaskScore, WeightTensors } from './types.ts';

/** Samples of one run by default: an abort waits for one batch at most, and the overhead of a run no longer shows. */
export const BATCH_SAMPLES = 100;

export const DEFAULT_DATA_INPUT = 'images';
export const DEFAULT_LABELS = 'labels';
export const DEFAULT_OUTPUT = 'logits';

/**
 * A graph and its test sets, kept open to score one model after another: the rules are those of `evaluate`. The graph
 * runs in a worker thread until `close`, which holds the last model's weights as float32 and one batch.
 */
export class Evaluator {
  readonly #input: EvaluatorInput;
  readonly #tests: readonly OpenTestSet[];
  readonly #session: GraphSession;
  readonly #data: GraphPort;
  readonly #ports: readonly GraphPort[];
  readonly #output: string;
  /** What each graph input holds now, so that a task's own tensors are the only ones that change between tasks. */
  readonly #held = new Map<string, string>();

  private constructor(input: EvaluatorInput, tests: readonly OpenTestSet[], session: GraphSession) {
    this.#input = input;
    this.#tests = tests;
    this.#session = session;
    this.#data = find(session.inputs, input.dataInput ?? DEFAULT_DATA_INPUT, 'INPUT_UNKNOWN', 'input', input.graph);
    this.#output = input.output ?? DEFAULT_OUTPUT;
    const output = find(session.outputs, this.#output, 'OUTPUT_UNKNOWN', 'output', input.graph);
    if (output.type !== 'float32') {
      const text = `graph output ${quote(output.name)} is ${output.type}; scores must be float32.`;
      throw new EvaluateError('GRAPH_UNSUPPORTED', text, { output: output.name, type: output.type });
    }
    this.#ports = session.inputs.filter((port) => port !== this.#data);
    for (const port of this.#ports) feedTypeOf(port);
  }

  /** @throws EvaluateError, SafetensorsError, CheckpointError; the signal's reason */
  static async open(input: EvaluatorInput, options: RunOptions = {}): Promise<Evaluator> {
    options.signal?.throwIfAborted();
    checkTests(input);
    await checkGraphFile(input.graph);
    const tests: OpenTestSet[] = [];
    let session: GraphSession | undefined;
    try {
      const names = { data: input.dataInput ?? DEFAULT_DATA_INPUT, labels: input.labels ?? DEFAULT_LABELS };
      for (const test of input.tests) tests.push(await openTestSet(test, names, options));
      session = await GraphSession.open(input.graph, options);
      return new Evaluator(input, tests, session);
    } catch (error) {
      await Promise.all([session?.close(), ...tests.map((test) => test.close())]);
      throw error;
    }
  }

  /** Samples of all test sets together. */
  get samples(): number {
    return this.#tests.reduce((sum, test) => sum + test.samples, 0);
  }

  /**
   * Scores a model on every test set; one call at a time. After an error the evaluator can only be closed.
   *
   * @throws EvaluateError, SafetensorsError, CheckpointError; the signal's reason, between two batches
   */
  async score(weights: WeightTensors, options: RunOptions = {}): Promise<Evaluation> {
    // Everything is matched up before the first tensor is read.
    const plans = this.#tests.map((test) => ({
      test,
      dims: sampleDims(this.#data, `tensor ${quote(test.data.name)} of test set ${quote(test.task)}`, test.sampleShape),
      sources: bindWeights(this.#ports, test.task, { weights, heads: this.#input.heads }),
    }));
    // The heads of the last model are this one's; its weights are not.
    for (const [port, id] of this.#held) if (!id.startsWith(HEADS)) this.#held.delete(port);
    const scores: [string, TaskScore][] = [];
    let done = 0;
    for (const { test, dims, sources } of plans) {
      for (const [port, source] of sources) {
        if (this.#held.get(port.name) === source.id) continue;
        await this.#session.hold(port.name, await readFeed(port, source, options), options);
        this.#held.set(port.name, source.id);
      }
      scores.push([test.task, await this.#scoreTest(test, dims, done, options)]);
      done += test.samples;
    }
    const average = scores.reduce((sum, [, score]) => sum + score.accuracy, 0) / scores.length;
    return { tasks: Object.fromEntries(scores), average };
  }

  /** Stops the thread and closes the test sets. May be called twice. */
  async close(): Promise<void> {
    await Promise.all([this.#session.close(), ...this.#tests.map((test) => test.close())]);
  }

  async #scoreTest(
    test: OpenTestSet,
    dims: (count: number) => number[],
    before: number,
    options: RunOptions,
  ): Promise<TaskScore> {
    const batch = this.#input.batch ?? BATCH_SAMPLES;
    const source = `tensor ${quote(test.data.name)} of test set ${quote(test.task)}`;
    const total = this.samples;
    let correct = 0;
    let at = 0;
    for await (const bytes of test.batches(batch, options)) {
      const count = Math.min(batch, test.samples - at);
      const feed = toFeed(this.#data, source, bytes, test.data.dtype, dims(count), true);
      const scores = await this.#session.run(this.#data.name, feed, this.#output, options);
      correct += countCorrect(scores, test.labels.subarray(at, at + count), test.task);
      at += count;
      options.onProgress?.({ phase: `evaluating ${test.task}`, done: before + at, total, unit: 'samples' });
    }
    return { n: test.samples, correct, accuracy: (100 * correct) / test.samples };
  }
}

function find(
  ports: readonly GraphPort[],
  name: string,
  code: 'INPUT_UNKNOWN' | 'OUTPUT_UNKNOWN',
  kind: string,
  graph: string,
): GraphPort {
  const port = ports.find((candidate) => candidate.name === name);
  if (port !== undefined) return port;
  const known = ports.map((candidate) => candidate.name);
  const shown = known.slice(0, 5).map(quote).join(', ');
  const text = `${graph}: the graph has no ${kind} ${quote(name)}; it has ${shown}${known.length > 5 ? ', …' : ''}. Name one of them.`;
  throw new EvaluateError(code, text, { [kind]: name, known });
}

function checkTests({ tests }: EvaluatorInput): void {
  if (tests.length === 0) throw new EvaluateError('NO_TESTS', 'Give at least one test set to evaluate on.');
  const tasks = new Set<string>();
  for (const { task } of tests) {
    if (tasks.has(task)) {
      throw new EvaluateError('NO_TESTS', `Task ${quote(task)} has two test sets: name each task once.`, { task });
    }
    tasks.add(task);
  }
}

async function checkGraphFile(path: string): Promise<void> {
  const problem = await stat(path).then(
    (info) => (info.isFile() ? undefined : 'it is not a file'),
    (error: NodeJS.ErrnoException) => (error.code === 'ENOENT' ? 'nothing there' : error.message),
  );
  if (problem === undefined) return;
  throw new EvaluateError('GRAPH_UNREADABLE', `${path}: ${problem}. Give the path of an ONNX graph.`, { path });
}
