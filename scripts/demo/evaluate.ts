import type { Cast } from './node.ts';
import { base, expert, graph, heads, TASKS, type Task, testSet } from './vision8.ts';

interface Evaluation {
  readonly tasks: Record<string, { readonly accuracy: number }>;
}

export interface Accuracy {
  readonly base: number;
  readonly expert: number;
  readonly merged: number;
}

/** Percent on the test sets: the base and the merged model on every task, each expert on its own. */
export async function evaluateAll(options: {
  cast: Cast;
  merged: string;
}): Promise<{ accuracy: Record<Task, Accuracy>; average: Accuracy }> {
  const { cast, merged } = options;
  const evaluate = (model: string, tasks: readonly Task[]) => {
    const tests = tasks.flatMap((task) => ['--test', `${task}=${testSet(task)}`]);
    return cast.run<Evaluation>('eve', 'evaluate', model, '--graph', graph, '--heads', heads, ...tests);
  };
  const ofExperts = async () => {
    const found: Record<string, number> = {};
    for (const task of TASKS) found[task] = (await evaluate(expert(task), [task])).tasks[task]!.accuracy;
    return found;
  };
  const ofModels = async () => ({ base: await evaluate(base, TASKS), merged: await evaluate(merged, TASKS) });
  const [experts, models] = await Promise.all([ofExperts(), ofModels()]);
  const accuracy = Object.fromEntries(
    TASKS.map((task) => [
      task,
      {
        base: models.base.tasks[task]!.accuracy,
        expert: experts[task]!,
        merged: models.merged.tasks[task]!.accuracy,
      },
    ]),
  ) as Record<Task, Accuracy>;
  const mean = (pick: (row: Accuracy) => number) =>
    TASKS.reduce((total, task) => total + pick(accuracy[task]), 0) / TASKS.length;
  return {
    accuracy,
    average: { base: mean((row) => row.base), expert: mean((row) => row.expert), merged: mean((row) => row.merged) },
  };
}
