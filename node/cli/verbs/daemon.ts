import type { Command } from 'commander';
import { Option } from 'commander';
import { runDaemon } from '../../daemon.ts';
import type { LogLevel } from '../../logger.ts';
import { createLogger, LOG_LEVELS } from '../../logger.ts';
import type { CommonOptions, Register } from '../context.ts';
import { EXIT } from '../exit-codes.ts';
import { collect, parseDiskLimit } from '../parse.ts';
import { type EngineVerbOptions, engineOptions, withEngineOptions } from './engine-options.ts';

interface DaemonOptions extends CommonOptions, EngineVerbOptions {
  readonly listen?: string[];
  readonly peer?: string[];
  readonly diskLimit?: number;
  readonly logLevel: LogLevel;
}

export function daemonVerb(program: Command, register: Register): void {
  const command = program
    .command('daemon')
    .description('run the node until it is interrupted')
    .option('--listen <multiaddr>', 'address to listen on, may be repeated (default: what join wrote)', collect)
    .option('--peer <multiaddr>', 'a peer to connect to, may be repeated', collect)
    .option(
      '--disk-limit <size>',
      'bytes that the home may take, such as 200GB (default: that of config.json)',
      parseDiskLimit,
    )
    .addOption(new Option('--log-level <level>', 'how much to log').choices(LOG_LEVELS).default('info'));
  register<DaemonOptions>(withEngineOptions(command), async (context, _args, options) => {
    const logger = createLogger({ level: options.logLevel });
    const stopped = await runDaemon(
      {
        home: context.home,
        listen: options.listen,
        peers: options.peer ?? [],
        engine: engineOptions(options),
        diskLimit: options.diskLimit,
      },
      {
        logger,
        signal: context.signal,
        onReady: (ready) =>
          context.output.result(ready, () =>
            [`node ${ready.peerId}`, ...ready.join.map((line) => `join with: kinmerge join ${line}`)].join('\n'),
          ),
      },
    );
    logger.info({ reason: stopped }, 'stopped');
    return EXIT.done;
  });
}
