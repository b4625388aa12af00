/** Gives the results of tasks in their order, with `window` of them under way beside the one that is waited for or in use. */
export async function* inOrder<T>(tasks: Iterable<() => Promise<T>>, window: number): AsyncGenerator<T> {
  const running: Promise<T>[] = [];
  const start = (task: () => Promise<T>) => {
    const result = task();
    // Told of in its turn, or by the failure of one before it.
    result.catch(() => undefined);
    running.push(result);
  };
  for (const task of tasks) {
    start(task);
    if (running.length > window) yield await running.shift()!;
  }
  while (running.length > 0) yield await running.shift()!;
}
