/** What a device's process and the one that started it say to each other. */
import type { Failure } from '../failures.ts';
import type { ParcelHead, Piece } from './parcels.ts';

export type ToDevice =
  | ({ readonly kind: 'call'; readonly id: number; readonly task: string } & ParcelHead)
  | Piece
  | { readonly kind: 'cancel'; readonly id: number };

export type FromDevice =
  | ({ readonly kind: 'done'; readonly id: number } & ParcelHead)
  | Piece
  | { readonly kind: 'cancelled'; readonly id: number }
  | ({ readonly kind: 'failed'; readonly id: number } & Failure);
