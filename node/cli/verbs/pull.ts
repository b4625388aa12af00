import { resolve } from 'node:path';
import { multiaddr } from '@multiformats/multiaddr';
import type { Command } from 'commander';
import { type JoinLine, parseJoinLine } from '../../../protocols/index.ts';
import { parseId } from '../../../src/log/index.ts';
import { type Pulled, pullFromPeer } from '../../checkpoint/pull.ts';
import { joinCommunity } from '../../community/join.ts';
import { NodeError } from '../../errors.ts';
import { exists } from '../../files.ts';
import { readConfig } from '../../home/config.ts';
import { homeOwner } from '../../home/lock.ts';
import type { HomePaths } from '../../home/paths.ts';
import { createLogger } from '../../logger.ts';
import { openHome } from '../../service/open-home.ts';
import type { CliContext, CommonOptions, Register } from '../context.ts';
import { EXIT } from '../exit-codes.ts';
import { formatBytes } from '../output.ts';
import { withService } from '../with-service.ts';
import { type EngineVerbOptions, engineOptions, withEngineOptions } from './engine-options.ts';

interface PullVerbOptions extends CommonOptions, EngineVerbOptions {
  readonly community?: string;
  readonly out: string;
  readonly recipe?: string;
  readonly tail?: boolean;
  readonly without?: string;
}

export function pullVerb(program: Command, register: Register): void {
  const command = program
    .command('pull')
    .description('write the merged checkpoint as a Hugging Face directory')
    .requiredOption('--out <dir>', 'directory to make')
    .option(
      '--community <join line>',
      'pull from this node; not needed where a daemon of the same home runs, which answers itself',
    )
    .option('--recipe <id>', 'fail unless this is the recipe')
    .option('--tail', 'include updates that no seal covers; where nothing is sealed they always are')
    .option('--without <update>', "leave this update out: a fork of your own, folded anew by the home's own node");
  register<PullVerbOptions>(withEngineOptions(command), async (context, _args, options) => {
    const pulled = await pull(context, options);
    context.output.result(pulled, () =>
      [
        `${pulled.out}${pulled.bytes > 0 ? `  ${formatBytes(pulled.bytes)}` : ''}`,
        `recipe ${pulled.recipe}: ${pulled.updates} updates, ${standing(pulled)}`,
        ...(pulled.without === null
          ? []
          : [`a fork of your own: it leaves out ${pulled.without}, which the community merges`]),
        `check it: kinmerge verify ${pulled.out} --base BASE`,
      ].join('\n'),
    );
    return EXIT.done;
  });
}

function standing({ provisional, seal }: Pulled): string {
  if (!provisional) return `sealed (number ${seal})`;
  return seal === null ? 'provisional: nothing is sealed' : `provisional: it goes beyond seal ${seal}`;
}

/**
 * Without a daemon, this process opens the home and pulls. With one, the log is the daemon's to extend, so it answers
 * from its own checkpoint, also when a join line of its community is given.
 */
async function pull(context: CliContext, options: PullVerbOptions): Promise<Pulled> {
  const { home, signal, output } = context;
  const { recipe, tail, without } = options;
  const request = { out: resolve(options.out), recipe, tail, without };
  const run = { signal, onProgress: output.progress };
  const line = options.community === undefined ? undefined : parseJoinLine(options.community);
  const joined = await exists(home.config);
  if (line !== undefined && joined) await checkCommunity(line, home);
  if ((await homeOwner(home.lock)) !== undefined) {
    if (line !== undefined) output.note('a running process holds this home: its own checkpoint is taken');
    return withService(context, (service) => service.pull(request, run));
  }
  if (options.community !== undefined && !joined) {
    await joinCommunity(
      { target: options.community, base: null, peers: [], listen: [], announce: [] },
      { home, signal },
      run,
    );
  }
  const { base, bootstrap, community } = await readConfig(home.config);
  const [remembered] = bootstrap;
  const from =
    line ??
    (base === null && remembered !== undefined
      ? { address: multiaddr(remembered), community: parseId(community) }
      : undefined);
  const logger = createLogger({ level: 'warn' });
  const opened = await openHome(
    { home, command: 'kinmerge pull', engine: engineOptions(options), fold: from === undefined },
    { logger },
  );
  try {
    if (from !== undefined && without !== undefined) {
      throw new NodeError(
        'USAGE',
        '--without needs a home with a base, which folds by itself: pull without --community',
      );
    }
    if (from === undefined) return await opened.service.pull(request, run);
    return await pullFromPeer(from, request, { community: opened.service.community, signal, logger }, run);
  } finally {
    await opened.close();
  }
}

/** @throws NodeError `HOME_ALREADY_JOINED` when the line is of another community than the home */
async function checkCommunity(line: JoinLine, home: HomePaths): Promise<void> {
  const { community } = await readConfig(home.config);
  if (line.community.toString() === community) return;
  throw new NodeError(
    'HOME_ALREADY_JOINED',
    `${home.root} belongs to community ${community}, the join line to ${line.community}: choose another --home`,
    { home: home.root, community, asked: line.community.toString() },
  );
}
