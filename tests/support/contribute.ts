import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { MAX_INLINE_PAYLOAD_BYTES } from '../../protocols/index.ts';
import { encodeSigned, manifestOf, type SignedRecord, signRecord } from '../../src/log/index.ts';
import type { TestNode } from '../fault/support.ts';

/** A contribution that is out. */
export interface Contributed {
  readonly signed: SignedRecord;
  /** Of record and payload. */
  readonly bytes: number;
}

/** Publishes a payload as the daemon does with what it encoded: durable first, then gossiped, inside when small. */
export async function contributePayload(
  { community, network }: TestNode,
  payload: Uint8Array,
  title: string,
): Promise<Contributed> {
  const { author, book, options } = community;
  const manifest = await manifestOf(payload);
  const file = join(options.home.tmp, `payload-${performance.now()}`);
  await writeFile(file, payload);
  await book.payloads.reserve(manifest, file);
  const signed = await book.publish(author.publicKey, manifest, (link) =>
    signRecord(
      {
        version: 1,
        kind: 'update',
        author: author.publicKey,
        charter: options.charterId,
        ...link,
        payload: manifest.id,
        title,
        license: '',
        note: '',
      },
      author,
    ),
  );
  await book.payloads.release(manifest.id);
  await network.publish(signed, payload.length > MAX_INLINE_PAYLOAD_BYTES ? null : payload);
  return { signed, bytes: encodeSigned(signed).length + payload.length };
}
