import { type ChildOptions, ProgramFailed, runModule } from './child.ts';

const CLI = new URL('./cli-child.ts', import.meta.url);

/** Runs one verb and returns its document. Rejects with the message that a user would read. */
export async function runCli<T>(args: readonly string[], options: ChildOptions = {}): Promise<T> {
  try {
    return await runModule<T>(CLI, [...args, '--json'], options);
  } catch (error) {
    const message = error instanceof ProgramFailed ? messageIn(error.stdout) : undefined;
    throw message === undefined ? error : new Error(`kinmerge ${args[0]}: ${message}`, { cause: error });
  }
}

function messageIn(stdout: string): string | undefined {
  try {
    return (JSON.parse(stdout) as { error?: { message?: string } }).error?.message;
  } catch {
    return undefined;
  }
}
