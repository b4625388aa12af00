import { readFile, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { removeTempSiblings } from '../../src/durable.ts';
import { charterId, decodeCharter } from '../../src/log/index.ts';
import type { MergeEngineOptions } from '../../src/merge/index.ts';
import type { SealPolicy } from '../core/auto-sealer.ts';
import { Community } from '../core/community.ts';
import { readGoverningKeys } from '../core/governing.ts';
import { NodeError } from '../errors.ts';
import { readConfig } from '../home/config.ts';
import { loadOrCreateKey } from '../home/keys.ts';
import { lockHome } from '../home/lock.ts';
import { migrateHome } from '../home/migrate.ts';
import type { HomePaths } from '../home/paths.ts';
import type { Logger } from '../logger.ts';
import { LocalService } from './local.ts';
import { holdYoungGeneration } from './young-generation.ts';

/** What belongs to an opened home. */
export interface OpenHome {
  readonly service: LocalService;
  readonly charterBytes: Uint8Array;
  readonly listen: readonly string[];
  readonly announce: readonly string[];
  readonly bootstrap: readonly string[];
  readonly sealPolicy: SealPolicy;
  /** Aborted when another process has taken the home: what this one does from then on is at the other's cost. */
  readonly lost: AbortSignal;
  close(): Promise<void>;
}

/**
 * Opens a joined home in this process: takes its lock and reads its log.
 *
 * @throws NodeError `HOME_NOT_JOINED`, `HOME_LOCKED`, `HOME_INVALID`, `HOME_NEWER`, `CHARTER_MISMATCH`
 */
export async function openHome(
  options: {
    home: HomePaths;
    command: string;
    engine: MergeEngineOptions;
    fold: boolean;
    /** Instead of the configuration's. */
    diskLimit?: number | undefined;
  },
  components: { logger: Logger },
): Promise<OpenHome> {
  const { home } = options;
  const config = await readConfig(home.config);
  const lock = await lockHome(home.lock, options.command);
  try {
    // Half-written settings and keys of killed processes: a token or a key may be in them.
    for (const path of [home.lock, home.authorKey, home.replayed]) await removeTempSiblings(dirname(path));
    // Of an earlier process, perhaps with this one's pid: nobody shall take it for ours.
    await rm(home.api, { force: true });
    await migrateHome({ home }, components);
    const charterBytes = await readCharter(home.charter);
    const id = charterId(charterBytes);
    if (id.toString() !== config.community) {
      throw new NodeError('CHARTER_MISMATCH', `${home.charter} is not the charter of ${config.community}: join again`, {
        expected: config.community,
        found: id.toString(),
      });
    }
    const author = await loadOrCreateKey(home.authorKey);
    const community = new Community(
      {
        home,
        charter: decodeCharter(charterBytes),
        charterId: id,
        base: config.base,
        engine: options.engine,
        fold: options.fold,
        foldStates: config.foldStates,
        diskLimit: options.diskLimit ?? config.diskLimit,
        adopt: config.adopt,
      },
      { author, keys: await readGoverningKeys(home, author), logger: components.logger },
    );
    const letGrow = holdYoungGeneration();
    community.once('view', letGrow);
    await community.open().catch((error: unknown) => {
      letGrow();
      throw error;
    });
    return {
      service: new LocalService({ community }),
      charterBytes,
      listen: config.listen,
      announce: config.announce,
      bootstrap: config.bootstrap,
      sealPolicy: config.seal ?? {},
      lost: lock.lost,
      close: async () => {
        await community.close();
        await lock.release();
      },
    };
  } catch (error) {
    await lock.release();
    throw error;
  }
}

async function readCharter(path: string): Promise<Uint8Array> {
  try {
    return await readFile(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    throw new NodeError('HOME_INVALID', `${path} is missing: join the community again with this --home`, { path });
  }
}
