import { rm } from 'node:fs/promises';
import type { MergeEngineOptions } from '../src/merge/index.ts';
import { startControlApi } from './api/server.ts';
import { AutoSealer, type SealPolicy } from './core/auto-sealer.ts';
import { loadOrCreateKey } from './home/keys.ts';
import type { HomePaths } from './home/paths.ts';
import type { Logger } from './logger.ts';
import { Network } from './net/network.ts';
import { PeerBook } from './net/peer-book.ts';
import { announcedFromText, peerFromText } from './peer-address.ts';
import type { LocalService } from './service/local.ts';
import { openHome } from './service/open-home.ts';

/** A daemon that has not shut down in this time, in milliseconds, exits all the same: everything durable is on disk. */
export const SHUTDOWN_DEADLINE_MS = 15_000;

export interface DaemonOptions {
  readonly home: HomePaths;
  /** Addresses to listen on; those of the configuration when left out. */
  readonly listen: readonly string[] | undefined;
  /** Addresses that others are told to dial; those of the configuration when left out, and else those it listens on. */
  readonly announce?: readonly string[] | undefined;
  /** Addresses of peers, each ending in /p2p/ and the peer's id. */
  readonly peers: readonly string[];
  readonly engine: MergeEngineOptions;
  /** Bytes that the home may take; the configuration's when left out. */
  readonly diskLimit?: number | undefined;
  /** When to seal by itself; the configuration's where left out. */
  readonly seal?: SealPolicy;
}

export interface DaemonReady {
  readonly pid: number;
  readonly community: string;
  readonly peerId: string;
  readonly addresses: readonly string[];
  readonly join: readonly string[];
  readonly api: number;
}

/**
 * Runs a node until the signal aborts or its API is told to stop.
 *
 * @returns why it stopped
 * @throws NodeError; errors of the network when it cannot listen
 */
export async function runDaemon(
  options: DaemonOptions,
  components: { logger: Logger; signal: AbortSignal; onReady: (ready: DaemonReady) => void },
): Promise<string> {
  const { home } = options;
  const { logger, signal } = components;
  const bootstrap = options.peers.map(peerFromText);
  const announce = options.announce?.map(announcedFromText);
  const cleanup: (() => Promise<void>)[] = [];
  try {
    const { engine } = options;
    const opened = await openHome(
      { home, command: 'kinmerge daemon', engine, fold: true, diskLimit: options.diskLimit },
      { logger },
    );
    cleanup.push(() => opened.close());
    const { service } = opened;
    // A device or an eigensolver that was asked for by name and is not to be had ends the start; `auto` always works.
    const named = [engine.device, engine.eigensolver].some((choice) => choice !== undefined && choice !== 'auto');
    if (named) await describeEngine(service, logger);
    const book = new PeerBook({ path: home.peers });
    await book.load();
    for (const peer of [...opened.bootstrap.map(peerFromText), ...bootstrap]) {
      book.learn(peer.id, [peer.address], 'configured');
    }
    const network = await Network.start(
      {
        listen: options.listen ?? opened.listen,
        announce: announce ?? opened.announce,
        charterBytes: opened.charterBytes,
      },
      {
        community: service.community,
        key: await loadOrCreateKey(home.nodeKey),
        book,
        logger,
        listener: { onPeer: (id, connected) => service.peerChanged(id, connected) },
      },
    );
    cleanup.push(() => network.stop());
    service.network = network;
    const sealer = new AutoSealer(
      { ...opened.sealPolicy, ...options.seal },
      {
        community: service.community,
        onSealed: (signed) => network.publishSeal(signed),
        maySeal: () => network.maySeal,
        logger,
      },
    );
    sealer.start();
    cleanup.push(() => sealer.stop());
    const { promise: stopAsked, resolve: stop } = Promise.withResolvers<string>();
    const api = await startControlApi({ apiFile: home.api }, { service, stop: () => stop('asked through the API') });
    cleanup.push(async () => {
      await rm(home.api, { force: true });
      await api.close();
    });
    components.onReady({
      pid: process.pid,
      community: service.community.options.charterId.toString(),
      peerId: network.peerId,
      addresses: network.addresses(),
      join: network.joinLines(),
      api: api.port,
    });
    const describe = () =>
      describeEngine(service, logger).catch((error: unknown) => {
        if (!service.community.stopping.aborted) logger.error({ err: error }, 'the matrix engine does not start');
      });
    if (!named) void describe();
    // A device can fail in a fold, which then goes on with the CPU.
    service.community.on('fold', describe);
    signal.addEventListener('abort', () => stop('interrupted'), { once: true });
    if (signal.aborted) stop('interrupted');
    opened.lost.addEventListener('abort', () => {
      logger.error({ err: opened.lost.reason }, 'the home is lost');
      stop('another process took the home');
    });
    return await stopAsked;
  } finally {
    const deadline = setTimeout(() => {
      logger.error('shutdown took too long; leaving');
      process.exit(1);
    }, SHUTDOWN_DEADLINE_MS);
    for (const step of cleanup.reverse()) await step().catch((error) => logger.error({ err: error }, 'shutdown'));
    clearTimeout(deadline);
  }
}

async function describeEngine(service: LocalService, logger: Logger): Promise<void> {
  const { notices, ...engine } = await service.community.merges.call('engine', undefined);
  for (const notice of notices) logger.warn(notice);
  const { device, description, eigensolver } = engine;
  if (service.engine?.description === description) return;
  service.engine = engine;
  logger.info({ device, description, eigensolver: eigensolver.description }, 'matrix work');
  if (eigensolver.hint !== null) logger.info(eigensolver.hint);
}
