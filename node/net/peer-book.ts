import { readFile } from 'node:fs/promises';
import { z } from 'zod';
import { writeFileDurably } from '../../src/durable.ts';

/** Peers remembered at most; beyond it the one not seen for the longest time is dropped (a bootstrap peer never is). */
export const MAX_REMEMBERED_PEERS = 256;
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
  readonly bootstrap: boolean;
}

interface Entry {
  id: string;
  addresses: string[];
  lastSeen: number;
  bootstrap: boolean;
  failures: number;
  nextDial: number;
}

const fileSchema = z.array(
  z.object({ id: z.string(), addresses: z.array(z.string()), lastSeen: z.number(), bootstrap: z.boolean() }),
);

/** Whom this node has met or heard of, when to dial whom next. Survives restarts. */
export class PeerBook {
  readonly #path: string;
  readonly #now: () => number;
  readonly #random: () => number;
  readonly #entries = new Map<string, Entry>();
  #saving: Promise<void> = Promise.resolve();
  #dirty = false;

  constructor(options: { path: string }, components: { now?: () => number; random?: () => number } = {}) {
    this.#path = options.path;
    this.#now = components.now ?? Date.now;
    this.#random = components.random ?? Math.random;
  }

  /** Reads the file. A missing or damaged one is an empty book: bootstrap peers fill it again. */
  async load(): Promise<void> {
    try {
      for (const peer of fileSchema.parse(JSON.parse(await readFile(this.#path, 'utf8')))) {
        this.#insert(peer.id, peer.addresses, peer.lastSeen, peer.bootstrap);
      }
    } catch {
      // Derived knowledge: starting without it costs a round of address exchange.
    }
  }

  /** Learns addresses of a peer from itself, from another peer or from the configuration. */
  learn(id: string, addresses: readonly string[], options: { bootstrap?: boolean } = {}): void {
    const known = this.#entries.get(id);
    const before = known === undefined ? '' : JSON.stringify([known.addresses, known.bootstrap]);
    this.#insert(id, addresses, known?.lastSeen ?? 0, options.bootstrap ?? known?.bootstrap ?? false);
    const entry = this.#entries.get(id);
    if (entry !== undefined && JSON.stringify([entry.addresses, entry.bootstrap]) !== before) this.#save();
  }

  connected(id: string): void {
    const entry = this.#entries.get(id);
    if (entry === undefined) return;
    entry.lastSeen = this.#now();
    entry.failures = 0;
    entry.nextDial = 0;
    this.#save();
  }

  /** The connection ended or a dial failed: wait before the next. */
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

  all(): RememberedPeer[] {
    return [...this.#entries.values()];
  }

  /** Waits until the last change is on disk. */
  async flush(): Promise<void> {
    await this.#saving;
  }

  #insert(id: string, addresses: readonly string[], lastSeen: number, bootstrap: boolean): void {
    const known = this.#entries.get(id);
    // Newest addresses first: a peer that moved is reached by what it says now.
    const merged = [...new Set([...addresses, ...(known?.addresses ?? [])])].slice(0, MAX_ADDRESSES_PER_PEER);
    if (known !== undefined) {
      known.addresses = merged;
      known.lastSeen = Math.max(known.lastSeen, lastSeen);
      known.bootstrap = bootstrap;
      return;
    }
    if (this.#entries.size >= MAX_REMEMBERED_PEERS && !this.#evict(bootstrap)) return;
    this.#entries.set(id, { id, addresses: merged, lastSeen, bootstrap, failures: 0, nextDial: 0 });
  }

  /** Makes room; hearsay about a stranger (never seen) goes first. */
  #evict(forBootstrap: boolean): boolean {
    let victim: Entry | undefined;
    for (const entry of this.#entries.values()) {
      if (!entry.bootstrap && (victim === undefined || entry.lastSeen < victim.lastSeen)) victim = entry;
    }
    if (victim === undefined) return false;
    // A flood of new names must not push out peers that really answered.
    if (!forBootstrap && victim.lastSeen > 0) return false;
    return this.#entries.delete(victim.id);
  }

  #save(): void {
    if (this.#dirty) return;
    this.#dirty = true;
    this.#saving = this.#saving.then(async () => {
      this.#dirty = false;
      const peers = this.all().map(({ id, addresses, lastSeen, bootstrap }) => ({
        id,
        addresses,
        lastSeen,
        bootstrap,
      }));
      await writeFileDurably(this.#path, Buffer.from(`${JSON.stringify(peers, null, 2)}\n`)).catch(() => {
        // Losing it costs a round of address exchange; the next change tries again.
      });
    });
  }
}
