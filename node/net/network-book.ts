import type { CheckpointShelf } from '../core/checkpoint-shelf.ts';
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
