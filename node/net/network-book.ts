import type { EventEmitter } from 'node:events';
import type { CheckpointShelf } from '../core/checkpoint-shelf.ts';
import type { Community, CommunityEvents, CommunityOptions } from '../core/community.ts';
import type { PayloadBook } from '../core/payload-book.ts';
import type { RecordBook } from '../core/record-book.ts';
import type { BlobStore } from '../stores/blob-store.ts';

/** What the network needs of a node's records and payloads: `RecordBook`, or one that has no disk. */
export type NetworkBook = Pick<RecordBook, 'log' | 'charterId' | 'judge' | 'take' | 'takeSeal' | 'expire'> & {
  readonly payloads: NetworkPayloads;
};

type NetworkPayloads = Pick<
  PayloadBook,
  'missing' | 'wants' | 'receive' | 'learnManifest' | 'learnPayload' | 'manifest' | 'manifestBytes' | 'block'
> & { readonly blobs: Pick<BlobStore, 'writer'> };

/** What the network needs of the finished checkpoints. */
export type NetworkShelf = Pick<CheckpointShelf, 'object' | 'block'>;

/** What the network needs of a community. */
export type NetworkCommunity = EventEmitter<CommunityEvents> &
  Pick<Community, 'view' | 'offered'> &
  Partial<Pick<Community, 'renounceDeclined'>> & {
    readonly options: Pick<CommunityOptions, 'charterId'>;
    readonly book: NetworkBook;
    readonly shelf: NetworkShelf;
  };
