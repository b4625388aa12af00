import { setTimeout as sleep } from 'node:timers/promises';
import { connectApi } from '../api/client.ts';
import { NodeError } from '../errors.ts';
import { homeOwner } from '../home/lock.ts';
import type { LockOwner } from '../home/lock-owner.ts';
import { createLogger } from '../logger.ts';
import type { NodeService } from '../service/service.ts';
import type { CliContext } from './context.ts';

/** How long a daemon that is just starting is waited for, in milliseconds. */
export const DAEMON_START_TIMEOUT_MS = 10_000;

/**
 * Asks the home's daemon when one runs, and opens the home in this process when none does: the same questions, the same
 * answers.
 */
export async function withService<T>(context: CliContext, ask: (service: NodeService) => Promise<T>): Promise<T> {
  const owner = await homeOwner(context.home.lock);
  if (owner !== undefined) return ask(await connectTo(owner, context));
  // Loaded only here: a question to a running daemon is answered without the node's own modules.
  const { openHome } = await import('../service/open-home.ts');
  const opened = await openHome(
    { home: context.home, command: 'kinmerge', engine: {}, fold: false },
    { logger: createLogger({ level: 'warn' }) },
  );
  try {
    return await ask(opened.service);
  } finally {
    await opened.close();
  }
}

/** The API of the process that holds the home; an API file of an earlier process does not count. */
async function connectTo(owner: LockOwner, { home, signal }: CliContext): Promise<NodeService> {
  const deadline = performance.now() + DAEMON_START_TIMEOUT_MS;
  for (;;) {
    const client = await connectApi(home.api, { pid: owner.pid, signal });
    if (client !== undefined) return client;
    if (performance.now() > deadline) {
      throw new NodeError(
        'DAEMON_UNREACHABLE',
        `process ${owner.pid} (${owner.command}) holds this home and offers no control API: try again when it is done`,
        { ...owner },
      );
    }
    await sleep(100, undefined, { signal });
  }
}
