/** What tells a file from another one that took its name, and from itself before it was changed. */
export interface FileIdentity {
  readonly dev: number;
  readonly ino: number;
  readonly size: number;
  /** Milliseconds. */
  readonly modified: number;
}

export function identityOf(stats: {
  readonly dev: number;
  readonly ino: number;
  readonly size: number;
  readonly mtimeMs: number;
}): FileIdentity {
  return { dev: stats.dev, ino: stats.ino, size: stats.size, modified: stats.mtimeMs };
}

export function sameFile(a: FileIdentity, b: FileIdentity): boolean {
  return a.dev === b.dev && a.ino === b.ino && a.size === b.size && a.modified === b.modified;
}
