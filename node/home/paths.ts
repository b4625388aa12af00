import { join, resolve } from 'node:path';
import envPaths from 'env-paths';

/** Version of the on-disk layout (docs/home-layout.md); a home made by a newer one is refused rather than guessed at. */
export const HOME_LAYOUT_VERSION = 2;

/** Where everything of one home lies. A home belongs to one community. */
export interface HomePaths {
  readonly root: string;
  /** Settings that `join` wrote. */
  readonly config: string;
  readonly charter: string;
  readonly ownerKey: string;
  readonly authorKey: string;
  /** Of a node that seals with a key of its own; the owner's and the author's key seal as well, where the rules name them. */
  readonly sealerKey: string;
  readonly nodeKey: string;
  /** Who uses the home now. */
  readonly lock: string;
  /** Port and token of the running daemon's control API (mode 0600). */
  readonly api: string;
  /** Peers seen before, redialled for ever. */
  readonly peers: string;
  /** Records, seals, manifests and what is known of payloads. */
  readonly journal: string;
  /** The last record that was published here: its `seq` is taken, whatever happens to the journal. */
  readonly published: string;
  /** Payloads, named by manifest CID. */
  readonly blobs: string;
  /** States of the fold, derived: may be deleted at any time. */
  readonly fold: string;
  /** Comparisons of payloads, derived: may be deleted at any time. */
  readonly pairs: string;
  /** Number of the last seal whose decisions this home has recomputed; derived: may be deleted at any time. */
  readonly replayed: string;
  /** Measurements of payloads, derived: may be deleted at any time. */
  readonly verdicts: string;
  /** How far the check of payloads came, derived: may be deleted at any time. */
  readonly scrub: string;
  /** Merged checkpoints, derived: may be deleted at any time. */
  readonly checkpoints: string;
  /** Work in progress; emptied at every start. */
  readonly tmp: string;
}

export function homePaths(root: string): HomePaths {
  return {
    root,
    config: join(root, 'config.json'),
    charter: join(root, 'charter.cbor'),
    ownerKey: join(root, 'keys', 'owner.pem'),
    authorKey: join(root, 'keys', 'author.pem'),
    sealerKey: join(root, 'keys', 'sealer.pem'),
    nodeKey: join(root, 'keys', 'node.pem'),
    lock: join(root, 'lock.json'),
    api: join(root, 'api.json'),
    peers: join(root, 'peers.json'),
    journal: join(root, 'journal'),
    published: join(root, 'published.json'),
    blobs: join(root, 'blobs'),
    fold: join(root, 'derived', 'fold'),
    pairs: join(root, 'derived', 'pairs'),
    replayed: join(root, 'derived', 'replayed'),
    verdicts: join(root, 'derived', 'verdicts'),
    scrub: join(root, 'derived', 'scrub'),
    checkpoints: join(root, 'derived', 'checkpoints'),
    tmp: join(root, 'tmp'),
  };
}

/** `--home`, else `KINMERGE_HOME`, else the platform's data directory. */
export function resolveHome(option: string | undefined, env: NodeJS.ProcessEnv = process.env): string {
  return resolve(option ?? (env.KINMERGE_HOME || envPaths('kinmerge', { suffix: '' }).data));
}
