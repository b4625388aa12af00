import type { SignedSeal } from '../../src/log/index.ts';
import type { Logger } from '../logger.ts';
import type { Community } from './community.ts';
import { canSeal, seal } from './governing.ts';
import type { View } from './view.ts';

/** How often the clock is looked at, in milliseconds. */
export const SEAL_CHECK_MS = 10_000;
const HOUR_MS = 3_600_000;

/** When a node seals by itself: at whichever comes first. */
export interface SealPolicy {
  /** Accepted updates that no seal covers. */
  readonly updates?: number | undefined;
  /** Hours since the last seal, or since the start, while there is something to seal. */
  readonly hours?: number | undefined;
}

/** Seals by a policy, as long as this home has the key of a sealer. */
export class AutoSealer {
  readonly #policy: SealPolicy;
  readonly #community: Community;
  readonly #onSealed: (signed: SignedSeal) => void | Promise<void>;
  readonly #maySeal: () => boolean;
  readonly #logger: Logger;
  readonly #now: () => number;
  #since: number;
  #told = false;
  #timer: NodeJS.Timeout | undefined;
  #sealing: Promise<void> | undefined;

  constructor(
    options: SealPolicy,
    components: {
      community: Community;
      onSealed: (signed: SignedSeal) => void | Promise<void>;
      /** Whether nothing speaks against it now, such as peers that this node has not caught up with. */
      maySeal?: () => boolean;
      logger: Logger;
      now?: () => number;
    },
  ) {
    this.#policy = options;
    this.#maySeal = components.maySeal ?? (() => true);
    this.#community = components.community;
    this.#onSealed = components.onSealed;
    this.#logger = components.logger;
    this.#now = components.now ?? (() => performance.now());
    this.#since = this.#now();
  }

  start(): void {
    const { updates, hours } = this.#policy;
    if (updates === undefined && hours === undefined) return;
    this.#community.on('view', this.#look);
    this.#community.on('seal', this.#onSeal);
    this.#timer = setInterval(() => this.#look(), SEAL_CHECK_MS);
    this.#timer.unref();
    this.#look();
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    this.#community.off('view', this.#look);
    this.#community.off('seal', this.#onSeal);
    await this.#sealing;
  }

  readonly #onSeal = () => {
    this.#since = this.#now();
  };

  readonly #look = () => {
    const { view } = this.#community;
    if (view === undefined) return;
    this.#tellOnce(view);
    if (this.#sealing !== undefined || !this.#isDue(view) || !this.#maySeal()) return;
    this.#sealing = this.#seal().finally(() => {
      this.#sealing = undefined;
    });
  };

  /** An amendment may still make a key of this home a sealer's, so this is no error. */
  #tellOnce(view: View): void {
    if (this.#told) return;
    this.#told = true;
    if (!canSeal(this.#community, view)) {
      this.#logger.warn(
        'asked to seal, and cannot: no key of this home is a sealer, or seals stand still (kinmerge status)',
      );
    }
  }

  #isDue(view: View): boolean {
    const tail = view.records.length - (view.seals.at(-1)?.records ?? 0);
    if (tail === 0 || view.waiting !== null || !canSeal(this.#community, view)) return false;
    const { updates, hours } = this.#policy;
    const unsealed = view.accepted.length - (view.sealed?.accepted.length ?? 0);
    if (updates !== undefined && unsealed >= updates) return true;
    return hours !== undefined && this.#now() - this.#since >= hours * HOUR_MS;
  }

  async #seal(): Promise<void> {
    try {
      const signed = await seal(this.#community);
      if (signed === null) return;
      this.#since = this.#now();
      this.#logger.info({ number: signed.seal.number, updates: signed.seal.accepted }, 'sealed');
      await this.#onSealed(signed);
    } catch (error) {
      if (this.#community.stopping.aborted) return;
      this.#logger.error({ err: error }, 'sealing failed; it is tried again');
    }
  }
}
