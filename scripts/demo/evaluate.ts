import { applyUpdate, type Updates } from './forms.ts';
import type { Cast } from './node.ts';
import { base, expert, graph, heads, TASKS, type Task, testSet } from './vision8.ts';

interface Evaluation {
  readonly tasks: Record<string, { readonly accuracy: number }>;
}

/** One task's, or the mean over the tasks. In percent. */
export interface Accuracy {
  readonly base: number;
  /** The task's own fine-tune. */
  readonly expert: number;
  /** Base plus the fine-tune's update. */
  readonly update: number;
  readonly merged: number;
  /** The same two with updates in the paper's form. */
  readonly paperUpdate: number;
  readonly paperMerged: number;
}

/** On the test sets: the base and the merged models on every task, experts and updates on their own. */
export async function evaluateAll(options: {
  cast: Cast;
  merged: string;
  updates: Updates;
  paper: { merged: string; updates: Updates };
}): Promise<{ accuracy: Record<Task, Accuracy>; average: Accuracy }> {
  const { cast, merged, updates, paper } = options;
  const evaluate = async (model: string, tasks: readonly Task[]) => {
    const tests = tasks.flatMap((task) => ['--test', `${task}=${testSet(task)}`]);
    return (await cast.run<Evaluation>('eve', 'evaluate', model, '--graph', graph, '--heads', heads, ...tests)).tasks;
  };
  const alone = async (model: (task: Task) => string | Promise<string>) => {
    const found: Record<string, number> = {};
    for (const task of TASKS) found[task] = (await evaluate(await model(task), [task]))[task]!.accuracy;
    return found;
  };
  // Two processes at a time.
  const [[ofBase, ofMerged, ofPaper, ofExperts], [ofUpdates, ofPaperUpdates]] = await Promise.all([
    (async () =>
      [
        await evaluate(base, TASKS),
        await evaluate(merged, TASKS),
        await evaluate(paper.merged, TASKS),
        await alone(expert),
      ] as const)(),
    (async () =>
      [
        await alone((task) => applyUpdate(cast, updates, task)),
        await alone((task) => applyUpdate(cast, paper.updates, task)),
      ] as const)(),
  ]);
  const accuracy = Object.fromEntries(
    TASKS.map((task) => [
      task,
      {
        base: ofBase[task]!.accuracy,
        expert: ofExperts[task]!,
        update: ofUpdates[task]!,
        merged: ofMerged[task]!.accuracy,
        paperUpdate: ofPaperUpdates[task]!,
        paperMerged: ofPaper[task]!.accuracy,
      },
    ]),
  ) as Record<Task, Accuracy>;
  const mean = (key: keyof Accuracy) => TASKS.reduce((total, task) => total + accuracy[task][key], 0) / TASKS.length;
  return {
    accuracy,
    average: {
      base: mean('base'),
      expert: mean('expert'),
      update: mean('update'),
      merged: mean('merged'),
      paperUpdate: mean('paperUpdate'),
      paperMerged: mean('paperMerged'),
    },
  };
}
