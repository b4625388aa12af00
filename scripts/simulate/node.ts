import { AutoSealer } from '../../node/core/auto-sealer.ts';
import { revoke } from '../../node/core/governing.ts';
import type { Logger } from '../../node/logger.ts';
import { Network } from '../../node/net/network.ts';
import { PeerBook, type RememberedPeer } from '../../node/net/peer-book.ts';
import { MAX_INLINE_PAYLOAD_BYTES } from '../../protocols/index.ts';
import {
  equalKeys,
  keyFromSeed,
  manifestOf,
  type SignedRecord,
  type SignedUpdate,
  type SigningKey,
  signRecord,
} from '../../src/log/index.ts';
import type { SimulatedCommunity } from './charter.ts';
import { MemoryCommunity } from './community.ts';
import type { SimHost } from './host.ts';
import { type Disk, emptyDisk } from './memory-book.ts';
import type { SharedContent } from './memory-stores.ts';
import type { SyntheticPayloads } from './payloads.ts';
import { seededBytes } from './random.ts';
import { simulatedHost } from './simulated-host.ts';
import type { Place, World } from './world.ts';

/** What all nodes of a run share. */
export interface NodeParts {
  readonly seed: string;
  readonly community: SimulatedCommunity;
  readonly world: World;
  readonly shared: SharedContent;
  readonly payloads: SyntheticPayloads;
  readonly logger: Logger;
}

export interface NodeListener {
  /** The node has derived another view, began, or stopped. */
  onChange(node: SimNode): void;
}

/** One node: the daemon's network and its core, and what survives on its disk while it is stopped. */
export class SimNode {
  readonly index: number;
  readonly author: SigningKey;
  readonly disk: Disk;
  protected readonly parts: NodeParts;
  readonly #key: SigningKey;
  readonly #listener: NodeListener;
  readonly #bootstrap: SimNode[] = [];
  #remembered: readonly RememberedPeer[] = [];
  #peerId = '';
  #running: { community: MemoryCommunity; network: Network; book: PeerBook; sealer: AutoSealer } | undefined;
  #sealEvery: number | undefined;

  constructor(index: number, parts: NodeParts, listener: NodeListener) {
    this.index = index;
    this.parts = parts;
    this.#listener = listener;
    this.#key = keyFromSeed(seededBytes(`${parts.seed} node ${index}`));
    this.author = authorKey(parts.seed, index);
    this.disk = emptyDisk(parts.shared);
  }

  /** Whether the node does what it should. */
  get honest(): boolean {
    return true;
  }

  get online(): boolean {
    return this.#running !== undefined;
  }

  get community(): MemoryCommunity | undefined {
    return this.#running?.community;
  }

  /** The operator gives it the addresses of these nodes, which run. */
  joinThrough(nodes: readonly SimNode[]): void {
    this.#bootstrap.push(...nodes);
  }

  async start(): Promise<void> {
    const { community: options, payloads, logger } = this.parts;
    const keys = { owner: null, sealers: [this.author] };
    const community = new MemoryCommunity(options, { author: this.author, keys, disk: this.disk, payloads });
    const book = new PeerBook({ path: null });
    for (const { id, addresses } of this.#remembered) book.learn(id, addresses, 'peer');
    for (const node of this.#bootstrap) book.learn(node.peerId, [node.#address], 'configured');
    community.on('view', () => this.#listener.onChange(this));
    await community.open();
    const network = await Network.start(
      { listen: [this.#listen], charterBytes: options.charterBytes },
      {
        community,
        key: this.#key,
        book,
        logger,
        listener: { onPeer: () => {} },
        createHost: simulatedHost(this.place()),
      },
    );
    this.#peerId = network.peerId;
    const sealer = new AutoSealer(
      { updates: this.#sealEvery },
      { community: community.asCommunity, onSealed: (signed) => network.publishSeal(signed), logger },
    );
    sealer.start();
    this.#running = { community, network, book, sealer };
    this.#listener.onChange(this);
  }

  /** Ends the node as a crash does: its connections break, its disk stays. */
  async stop(): Promise<void> {
    const running = this.#running;
    if (running === undefined) return;
    this.#running = undefined;
    this.#remembered = running.book.all().filter(({ reached }) => reached > 0);
    for (const wire of [...this.parts.world.wires]) {
      if (wire.nodes.includes(this.index)) wire.break('the node was stopped');
    }
    this.#listener.onChange(this);
    await running.network.stop();
    // The sealer waits for admission, which ends with the community.
    await Promise.all([running.sealer.stop(), running.community.close()]);
  }

  /** The operator lets it seal by itself, after so many accepted updates; it has to be a sealer. */
  sealEvery(updates: number): void {
    this.#sealEvery = updates;
  }

  /** Takes the newest of the own updates out that is still in; null when there is none. */
  async revokeNewest(): Promise<SignedRecord | null> {
    const { community, network } = this.#running!;
    const { view } = community;
    const own = view?.accepted.findLast(({ cid }) =>
      equalKeys(community.book.log.get(cid)!.record.author, this.author.publicKey),
    );
    if (own === undefined) return null;
    const { signed, already } = await revoke(community.asCommunity, { target: own.cid, note: 'a mistake' });
    if (already) return null;
    await network.publish(signed, null);
    return signed;
  }

  /** Contributes an update of these bytes. */
  async contribute(payload: Uint8Array, title: string): Promise<SignedUpdate> {
    const { network } = this.#running!;
    const signed = await this.append(payload, title);
    await network.publish(signed, payload.length <= MAX_INLINE_PAYLOAD_BYTES ? payload : null);
    return signed;
  }

  /** Signs an update and appends it to the own log, without telling anybody. */
  protected async append(payload: Uint8Array, title: string): Promise<SignedUpdate> {
    const { community } = this.#running!;
    const manifest = await manifestOf(payload);
    await this.disk.blobs.put(manifest.id, payload);
    return community.book.publish(this.author.publicKey, manifest, (link) =>
      signRecord(
        {
          version: 1,
          kind: 'update',
          author: this.author.publicKey,
          charter: this.parts.community.charterId,
          ...link,
          payload: manifest.id,
          title,
          license: 'Apache-2.0',
          note: '',
        },
        this.author,
      ),
    );
  }

  protected get network(): Network {
    return this.#running!.network;
  }

  protected get host(): SimHost {
    return this.parts.world.hosts.get(this.#listen)!;
  }

  protected place(): Place {
    return { world: this.parts.world, node: this.index, known: () => this.#running?.book.all() ?? [] };
  }

  /** Known once the node ran. */
  get peerId(): string {
    return this.#peerId;
  }

  get #listen(): string {
    // Public addresses: nodes pass on to each other only what can be dialled from everywhere.
    return `/ip4/20.0.${this.index >> 8}.${this.index & 255}/tcp/4001`;
  }

  get #address(): string {
    return `${this.#listen}/p2p/${this.#peerId}`;
  }
}

/** The key that a node's owner signs updates with. */
export function authorKey(seed: string, index: number): SigningKey {
  return keyFromSeed(seededBytes(`${seed} author ${index}`));
}
