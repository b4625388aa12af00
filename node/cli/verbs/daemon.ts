import type { Command } from 'commander';
import { Option } from 'commander';
import type { SealPolicy } from '../../core/auto-sealer.ts';
import { runDaemon } from '../../daemon.ts';
import type { LogLevel } from '../../logger.ts';
import { createLogger, LOG_LEVELS } from '../../logger.ts';
import type { CommonOptions, Register } from '../context.ts';
import { EXIT } from '../exit-codes.ts';
import { collect, parseDiskLimit, parsePositive, parsePositiveCount } from '../parse.ts';
import { type EngineVerbOptions, engineOptions, withEngineOptions } from './engine-options.ts';

interface DaemonOptions extends CommonOptions, EngineVerbOptions {
  readonly listen?: string[];
  readonly announce?: string[];
  readonly peer?: string[];
  readonly diskLimit?: number;
  readonly logLevel: LogLevel;
  readonly sealEvery?: number;
  readonly sealHours?: number;
}

export function daemonVerb(program: Command, register: Register): void {
  const command = program
    .command('daemon')
    .description('run the node until it is interrupted')
    .option('--listen <multiaddr>', 'address to listen on, may be repeated (default: what join wrote)', collect)
    .option(
      '--announce <multiaddr>',
      'address that others are told to dial, may be repeated (default: what join wrote, else where it listens)',
      collect,
    )
    .option('--peer <multiaddr>', 'a peer to connect to, may be repeated', collect)
    .option(
      '--disk-limit <size>',
      'bytes that the home may take, such as 200GB (default: that of config.json)',
      parseDiskLimit,
    )
    .option('--seal-every <n>', 'seal by itself when this many accepted updates are unsealed', parsePositiveCount)
    .option('--seal-hours <hours>', 'seal by itself this long after the last seal', parsePositive)
    .addOption(new Option('--log-level <level>', 'how much to log').choices(LOG_LEVELS).default('info'));
  register<DaemonOptions>(withEngineOptions(command), async (context, _args, options) => {
    const logger = createLogger({ level: options.logLevel });
    const stopped = await runDaemon(
      {
        home: context.home,
        listen: options.listen,
        announce: options.announce,
        peers: options.peer ?? [],
        engine: engineOptions(options),
        diskLimit: options.diskLimit,
        seal: sealPolicy(options),
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

/** What was not given is left to the configuration. */
function sealPolicy({ sealEvery, sealHours }: DaemonOptions): SealPolicy {
  return {
    ...(sealEvery !== undefined && { updates: sealEvery }),
    ...(sealHours !== undefined && { hours: sealHours }),
  };
}
