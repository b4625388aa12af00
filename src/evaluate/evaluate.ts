import { stat } from 'node:fs/promises';
import type { RunOptions } from '../run-options.ts';
import { quote } from '../tensors/index.ts';
import { bindWeights, readFeed } from './binding.ts';
import { EvaluateError } from './errors.ts';
import { feedTypeOf, sampleDims, toFeed } from './feeds.ts';
import { countCorrect } from './score.ts';
import { GraphSession } from './session.ts';
import { type OpenTestSet, openTestSet } from './test-set.ts';
import type { EvaluateInput, Evaluation, GraphPort, TaskScore } from './types.ts';

/** Samples of one run by default: an abort waits for one batch at most, and the overhead of a run no longer shows. */
export const BATCH_SAMPLES = 100;

export const DEFAULT_DATA_INPUT = 'images';
export const DEFAULT_LABELS = 'labels';
export const DEFAULT_OUTPUT = 'logits';

/**
 * Runs a graph whose weights are its inputs over labelled test sets and counts how often the largest score is the
 * label's. Graph inputs are fed by name: the data input from the test set, all others from `heads` (`<task>.<input>`)
 * or else from `weights`. Unsigned bytes of the data are divided by 255, and samples take the shape of the graph's
 * input where only dimensions of size 1 or their grouping differ. Of equal scores the first class counts.
 *
 * The graph runs in a worker thread. The weights are in memory as float32 there, and one batch at a time.
 *
 * @throws EvaluateError (every code); SafetensorsError, CheckpointError; the signal's reason, between two batches
 */
export async function evaluate(input: EvaluateInput, options: RunOptions = {}): Promise<Evaluation> {
  options.signal?.throwIfAborted();
  checkTests(input);
  await checkGraphFile(input.graph);
  const tests: OpenTestSet[] = [];
  let session: GraphSession | undefined;
  try {
    const names = { data: input.dataInput ?? DEFAULT_DATA_INPUT, labels: input.labels ?? DEFAULT_LABELS };
    for (const test of input.tests) tests.push(await openTestSet(test, names, options));
    session = await GraphSession.open(input.graph, options);
    return await new Run(input, session, names.data, options).all(tests);
  } finally {
    await Promise.all([session?.close(), ...tests.map((test) => test.close())]);
  }
}

class Run {
  readonly #input: EvaluateInput;
  readonly #session: GraphSession;
  readonly #data: GraphPort;
  readonly #output: string;
  readonly #options: RunOptions;
  #done = 0;
  #total = 0;

  constructor(input: EvaluateInput, session: GraphSession, dataInput: string, options: RunOptions) {
    this.#input = input;
    this.#session = session;
    this.#options = options;
    this.#data = find(session.inputs, dataInput, 'INPUT_UNKNOWN', 'input', input.graph);
    this.#output = input.output ?? DEFAULT_OUTPUT;
    const output = find(session.outputs, this.#output, 'OUTPUT_UNKNOWN', 'output', input.graph);
    if (output.type !== 'float32') {
      const text = `graph output ${quote(output.name)} is ${output.type}; scores must be float32.`;
      throw new EvaluateError('GRAPH_UNSUPPORTED', text, { output: output.name, type: output.type });
    }
  }

  async all(tests: readonly OpenTestSet[]): Promise<Evaluation> {
    this.#total = tests.reduce((sum, test) => sum + test.samples, 0);
    const ports = this.#session.inputs.filter((port) => port !== this.#data);
    for (const port of ports) feedTypeOf(port);
    // Everything is matched up before the first tensor is read.
    const plans = tests.map((test) => ({
      test,
      dims: sampleDims(this.#data, `tensor ${quote(test.data.name)} of test set ${quote(test.task)}`, test.sampleShape),
      sources: bindWeights(ports, test.task, this.#input),
    }));
    const held = new Map<string, string>();
    const scores: [string, TaskScore][] = [];
    for (const { test, dims, sources } of plans) {
      for (const [port, source] of sources) {
        if (held.get(port.name) === source.id) continue;
        await this.#session.hold(port.name, await readFeed(port, source, this.#options), this.#options);
        held.set(port.name, source.id);
      }
      scores.push([test.task, await this.#score(test, dims)]);
    }
    const average = scores.reduce((sum, [, score]) => sum + score.accuracy, 0) / scores.length;
    return { tasks: Object.fromEntries(scores), average };
  }

  async #score(test: OpenTestSet, dims: (count: number) => number[]): Promise<TaskScore> {
    const batch = this.#input.batch ?? BATCH_SAMPLES;
    const source = `tensor ${quote(test.data.name)} of test set ${quote(test.task)}`;
    let correct = 0;
    let at = 0;
    for await (const bytes of test.batches(batch, this.#options)) {
      const count = Math.min(batch, test.samples - at);
      const feed = toFeed(this.#data, source, bytes, test.data.dtype, dims(count), true);
      const scores = await this.#session.run(this.#data.name, feed, this.#output, this.#options);
      correct += countCorrect(scores, test.labels.subarray(at, at + count), test.task);
      at += count;
      this.#done += count;
      this.#options.onProgress?.({
        phase: `evaluating ${test.task}`,
        done: this.#done,
        total: this.#total,
        unit: 'samples',
      });
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

function checkTests({ tests }: EvaluateInput): void {
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
