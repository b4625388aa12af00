import { readFile } from 'node:fs/promises';
import { z } from 'zod';
import { writeFileDurably } from '../../src/durable.ts';

/** Peers remembered at most; beyond it the one of least use makes room (a bootstrap peer never does). */
export const MAX_REMEMBERED_PEERS = 256;
/** Failures in a row after which a peer that was reached once may be forgotten for a new one. */
export const STALE_FAILURES = 5;
/** Milliseconds without a connection after which a peer that was reached once may be forgotten for a new one: a day. */
export const STALE_MS = 86_400_000;
/** Addresses kept per peer. */
export const MAX_ADDRESSES_PER_PEER = 8;
/** First wait before a failed peer is dialled again, in milliseconds; it doubles with every failure. */
export const REDIAL_FIRST_MS = 500;
/** Longest wait between two dials of one peer, in milliseconds: a peer is never given up. */
export const REDIAL_MAX_MS = 60_000;
/** Share of a wait that is random, so that a community does not dial a returning node in step. */
export const REDIAL_JITTER = 0.3;

export interface RememberedPeer {
  readonly id: string;
  readonly addresses: readonly string[];
  /** Milliseconds since the epoch; 0 when never connected. */
  readonly lastSeen: number;
  /** Milliseconds since the epoch when this node last dialled it with success; 0 when it never did. */
  readonly reached: number;
  readonly bootstrap: boolean;
}

interface Entry {
  id: string;
  addresses: string[];
  lastSeen: number;
  reached: number;
  bootstrap: boolean;
  connected: boolean;
  /** Addresses that the operator gave: no other address takes their place. */
  configured: string[];
  failures: number;
  nextDial: number;
}

/** Where an address comes from: the operator, the peer itself over a connection, or somebody else. */
export type AddressSource = 'configured' | 'peer' | 'hearsay';

const fileSchema = z.array(
  z.object({
    id: z.string(),
    addresses: z.array(z.string()),
    lastSeen: z.number(),
    reached: z.number().default(0),
    bootstrap: z.boolean(),
  }),
);

/** Whom this node has met or heard of, when to dial whom next. Survives restarts. */
export class PeerBook {
  readonly #path: string | null;
  readonly #now: () => number;
  readonly #random: () => number;
  readonly #entries = new Map<string, Entry>();
  #saving: Promise<void> = Promise.resolve();
  #dirty = false;

  /** @param options.path - the file; null for a book that is only in memory */
  constructor(options: { path: string | null }, components: { now?: () => number; random?: () => number } = {}) {
    this.#path = options.path;
    this.#now = components.now ?? Date.now;
    this.#random = components.random ?? Math.random;
  }

  /** Reads the file. A missing or damaged one is an empty book: bootstrap peers fill it again. */
  async load(): Promise<void> {
    if (this.#path === null) return;
    try {
      for (const peer of fileSchema.parse(JSON.parse(await readFile(this.#path, 'utf8')))) {
        this.#insert(peer.id, peer.addresses, { ...peer, source: 'peer' });
      }
    } catch {
      // Derived knowledge: starting without it costs a round of address exchange.
    }
  }

  /** Learns addresses of a peer. A configured peer is a bootstrap peer from then on. */
  learn(id: string, addresses: readonly string[], source: AddressSource): void {
    const known = this.#entries.get(id);
    const before = known === undefined ? '' : JSON.stringify([known.addresses, known.bootstrap]);
    this.#insert(id, addresses, {
      lastSeen: known?.lastSeen ?? 0,
      reached: known?.reached ?? 0,
      bootstrap: source === 'configured' || known?.bootstrap === true,
      source,
    });
    const entry = this.#entries.get(id);
    if (entry !== undefined && JSON.stringify([entry.addresses, entry.bootstrap]) !== before) this.#save();
  }

  /** The peer is connected, whoever dialled, and it is one of ours. */
  connected(id: string): void {
    const entry = this.#entries.get(id);
    if (entry === undefined) return;
    entry.lastSeen = this.#now();
    entry.connected = true;
    if (entry.reached > 0) entry.failures = 0;
    this.#save();
  }

  /** This node dialled the peer and it answered: its addresses are good for others too. */
  reached(id: string): void {
    const entry = this.#entries.get(id);
    if (entry === undefined) return;
    entry.reached = this.#now();
    entry.lastSeen = entry.reached;
    entry.failures = 0;
    entry.nextDial = 0;
    this.#save();
  }

  /** The last connection to the peer ended. */
  disconnected(id: string): void {
    const entry = this.#entries.get(id);
    if (entry === undefined) return;
    if (entry.connected) entry.lastSeen = this.#now();
    entry.connected = false;
    this.failed(id);
  }

  /** The connection ended, a dial failed, or the peer is of no use: wait before the next. */
  failed(id: string): void {
    const entry = this.#entries.get(id);
    if (entry === undefined) return;
    const wait = Math.min(REDIAL_MAX_MS, REDIAL_FIRST_MS * 2 ** Math.min(entry.failures, 20));
    entry.failures++;
    entry.nextDial = this.#now() + wait * (1 - REDIAL_JITTER * this.#random());
  }

  /** Peers whose wait is over, the least tried first. */
  due(isConnected: (id: string) => boolean): RememberedPeer[] {
    const now = this.#now();
    return [...this.#entries.values()]
      .filter((entry) => entry.nextDial <= now && entry.addresses.length > 0 && !isConnected(entry.id))
      .sort((a, b) => a.failures - b.failures || b.lastSeen - a.lastSeen);
  }

  /** Connected peers that this node never dialled with success, and whose wait is over: are they where they say? */
  unproven(isConnected: (id: string) => boolean): RememberedPeer[] {
    const now = this.#now();
    return [...this.#entries.values()].filter(
      ({ reached, nextDial, addresses, id }) =>
        reached === 0 && nextDial <= now && addresses.length > 0 && isConnected(id),
    );
  }

  get(id: string): RememberedPeer | undefined {
    return this.#entries.get(id);
  }

  all(): RememberedPeer[] {
    return [...this.#entries.values()];
  }

  /** Waits until the last change is on disk. */
  async flush(): Promise<void> {
    await this.#saving;
  }

  #insert(
    id: string,
    addresses: readonly string[],
    facts: { lastSeen: number; reached: number; bootstrap: boolean; source: AddressSource },
  ): void {
    const { lastSeen, reached, bootstrap, source } = facts;
    const known = this.#entries.get(id);
    const configured = [...new Set([...(known?.configured ?? []), ...(source === 'configured' ? addresses : [])])];
    // A peer that moved is reached by what it says now. What others say of a peer that was reached only adds to it:
    // else a liar could make this node forget where its friends are.
    const trusted = known !== undefined && (known.lastSeen > 0 || known.bootstrap);
    const parts = source === 'hearsay' && trusted ? [known.addresses, addresses] : [addresses, known?.addresses ?? []];
    const merged = [...new Set([...configured, ...parts.flat()])].slice(0, MAX_ADDRESSES_PER_PEER);
    if (known !== undefined) {
      known.addresses = merged;
      known.configured = configured;
      known.lastSeen = Math.max(known.lastSeen, lastSeen);
      known.bootstrap = bootstrap;
      return;
    }
    if (this.#entries.size >= MAX_REMEMBERED_PEERS && !this.#evict(bootstrap)) return;
    this.#entries.set(id, {
      id,
      addresses: merged,
      lastSeen,
      reached,
      bootstrap,
      connected: false,
      configured,
      failures: 0,
      nextDial: 0,
    });
  }

  /**
   * Makes room. First goes who was never reached, the least likely to be there before the others; then, for a bootstrap
   * peer always and else only when it is stale, who was reached the longest ago. So a flood of names pushes out no peer
   * that answered, and a book full of peers that are gone takes new ones.
   */
  #evict(forBootstrap: boolean): boolean {
    const now = this.#now();
    const seen = (entry: Entry) => (entry.connected ? now : entry.lastSeen);
    const isStale = (entry: Entry) => entry.failures >= STALE_FAILURES || now - seen(entry) > STALE_MS;
    const [victim] = [...this.#entries.values()]
      .filter((entry) => !entry.bootstrap && (entry.reached === 0 || forBootstrap || isStale(entry)))
      .sort(
        (a, b) =>
          Number(a.reached > 0) - Number(b.reached > 0) ||
          Number(a.connected) - Number(b.connected) ||
          b.failures - a.failures ||
          seen(a) - seen(b),
      );
    return victim !== undefined && this.#entries.delete(victim.id);
  }

  #save(): void {
    const path = this.#path;
    if (this.#dirty || path === null) return;
    this.#dirty = true;
    this.#saving = this.#saving.then(async () => {
      this.#dirty = false;
      const peers = this.all().map(({ id, addresses, lastSeen, reached, bootstrap }) => ({
        id,
        addresses,
        lastSeen,
        reached,
        bootstrap,
      }));
      await writeFileDurably(path, Buffer.from(`${JSON.stringify(peers, null, 2)}\n`)).catch(() => {
        // Losing it costs a round of address exchange; the next change tries again.
      });
    });
  }
}
