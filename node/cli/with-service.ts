import { connectApi } from '../api/client.ts';
import { NodeError } from '../errors.ts';
import { homeOwner } from '../home/lock.ts';
import { createLogger } from '../logger.ts';
import { openHome } from '../service/open-home.ts';
import type { NodeService } from '../service/service.ts';
import type { CliContext } from './context.ts';

/**
 * Asks the home's daemon when one runs, and opens the home in this process when none does: the same questions, the same
 * answers.
 */
export async function withService<T>(context: CliContext, ask: (service: NodeService) => Promise<T>): Promise<T> {
  if ((await homeOwner(context.home.lock)) !== undefined) {
    const client = await connectApi(context.home.api, context.signal);
    if (client === undefined) {
      throw new NodeError('DAEMON_UNREACHABLE', 'the daemon of this home is still starting: try again in a moment');
    }
    return ask(client);
  }
  const opened = await openHome(
    { home: context.home, command: 'kinmerge', device: 'auto', fold: false },
    { logger: createLogger({ level: 'warn' }) },
  );
  try {
    return await ask(opened.service);
  } finally {
    await opened.close();
  }
}
