/** Names of checkpoints in the Hugging Face cache: `hf:org/name` and `hf:org/name@revision`. */
import { resolve } from 'node:path';
import { CheckpointError, quote } from './errors.ts';

/** A file whose own name starts so is written `./hf:…`. */
export const HUB_PREFIX = 'hf:';
/** Characters of each part of a repository's name: the bound of the Hub. */
export const MAX_HUB_NAME_PART = 96;
/** Characters of a branch or tag: each of its parts is a file name in `refs/`. */
export const MAX_HUB_REVISION = 255;

export interface HubName {
  /** As written, for messages. */
  readonly text: string;
  /** `org/name`; of the oldest models `name` alone. */
  readonly repository: string;
  /** A branch, a tag, or a commit of 40 hexadecimal digits. */
  readonly revision: string;
}

/** What becomes part of a path holds no separator of any platform, is never `..`, and starts with no dot or dash. */
const PART = /^[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?$/;

export function isHubName(text: string): boolean {
  return text.startsWith(HUB_PREFIX);
}

/** The absolute path of what a user named as a checkpoint; names in the Hugging Face cache stay as they are. */
export function resolveCheckpointPath(text: string, cwd: string = process.cwd()): string {
  return isHubName(text) ? text : resolve(cwd, text);
}

/** @throws CheckpointError HUB_NAME_INVALID */
export function parseHubName(text: string): HubName {
  const rest = text.slice(HUB_PREFIX.length);
  const at = rest.indexOf('@');
  const repository = at < 0 ? rest : rest.slice(0, at);
  const revision = at < 0 ? 'main' : rest.slice(at + 1);
  if (isHubName(text) && isRepository(repository) && isRevision(revision)) return { text, repository, revision };
  const message = `${quote(text)} names no checkpoint of the Hugging Face cache. Write hf:org/name or hf:org/name@revision.`;
  throw new CheckpointError('HUB_NAME_INVALID', message, { name: text });
}

function isRepository(text: string): boolean {
  const parts = text.split('/');
  // The cache writes "/" as "--", so a name with "--" in it could mean two repositories; the Hub has none.
  const plain = (part: string) => part.length <= MAX_HUB_NAME_PART && PART.test(part) && !/--|\.\.|\.git$/.test(part);
  return parts.length <= 2 && parts.every(plain);
}

function isRevision(text: string): boolean {
  const plain = (part: string) => PART.test(part) && !/\.\.|\.lock$/.test(part);
  return text.length <= MAX_HUB_REVISION && text.split('/').every(plain);
}

/** Whether a revision is a commit, which needs no ref. */
export function isCommit(revision: string): boolean {
  return /^[0-9a-f]{40}$/.test(revision);
}
