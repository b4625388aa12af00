/** Key of an author in maps: hex. */
export function authorKey(author: Uint8Array): string {
  return Buffer.from(author.buffer, author.byteOffset, author.byteLength).toString('hex');
}
