/**
 * Finds snapshots in the local Hugging Face cache, as `huggingface_hub` lays it out:
 * `models--org--name/{blobs,refs,snapshots}`. It is only read; nothing is downloaded.
 */
import { readdir, realpath, stat } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join, relative, sep } from 'node:path';
import { asCheckpointError, CheckpointError, type CheckpointErrorCode, quote } from './errors.ts';
import { openRegularFile, readFully } from './file.ts';
import { type HubName, isCommit, isHubName, parseHubName } from './hub-name.ts';
import { staysInside } from './side-files.ts';

/** Bytes of a file in `refs/`: 40 digits, and room for the end of a line. */
const MAX_REF_BYTES = 64;
/** Revisions that one message names. */
const SHOWN_REVISIONS = 10;

/** `HF_HUB_CACHE`, else `$HF_HOME/hub`, else `huggingface/hub` in the user's cache directory. */
export function hubCacheDir(env: NodeJS.ProcessEnv = process.env): string {
  const home = () => env.HF_HOME || join(env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'huggingface');
  return env.HF_HUB_CACHE || join(home(), 'hub');
}

/**
 * The path that a checkpoint's name stands for: the snapshot's directory for `hf:…`, anything else as it is.
 *
 * @throws CheckpointError HUB_NAME_INVALID, HUB_NOT_CACHED, HUB_REVISION_NOT_CACHED, HUB_REF_DAMAGED,
 *   HUB_SNAPSHOT_INCOMPLETE, HUB_LINK_OUTSIDE
 */
export async function locateCheckpoint(text: string, env: NodeJS.ProcessEnv = process.env): Promise<string> {
  if (!isHubName(text)) return text;
  const { snapshot, commit, name } = await locate(text, env);
  const names = await readdir(snapshot).catch((error: unknown) => {
    throw missing(error) ? incomplete(name, commit, 'its directory is not there') : asCheckpointError(error, snapshot);
  });
  const root = await realpath(snapshot);
  for (const file of names.filter((entry) => /\.safetensors(\.index\.json)?$/.test(entry))) {
    const real = await realpath(join(snapshot, file)).catch((error: unknown) => {
      throw missing(error)
        ? incomplete(name, commit, `${quote(file)} links to nothing`)
        : asCheckpointError(error, file);
    });
    if (staysInside(real, root)) continue;
    const message = `${snapshot}: ${quote(file)} leads out of its repository's cache. Give the path of the checkpoint instead of ${name.text}.`;
    throw new CheckpointError('HUB_LINK_OUTSIDE', message, { path: snapshot, file });
  }
  return snapshot;
}

/**
 * Fixes a name to the commit that it stands for now, since a branch moves with the next download; other paths stay.
 *
 * @throws as `locateCheckpoint`
 */
export async function pinCheckpointPath(path: string, env: NodeJS.ProcessEnv = process.env): Promise<string> {
  if (!isHubName(path)) return path;
  const { name, commit } = await locate(path, env);
  return `hf:${name.repository}@${commit}`;
}

/** What was thrown on opening the snapshot of `text`, put as a download that was cut off where it looks like one. */
export async function explainHubFailure(text: string, snapshot: string, error: unknown): Promise<unknown> {
  const codes: readonly CheckpointErrorCode[] = ['NO_WEIGHTS', 'INDEX_MISSING', 'SHARD_MISSING'];
  if (!(error instanceof CheckpointError) || !codes.includes(error.code)) return error;
  // Weights under another name are no sign of a missing file: the error says what to give instead.
  const names = await readdir(snapshot).catch(() => []);
  if (error.code === 'NO_WEIGHTS' && names.some((name) => name.endsWith('.safetensors'))) return error;
  const commit = snapshot.slice(-40);
  return incomplete(parseHubName(text), commit, error.message.replace(/\.$/, ''), error);
}

async function locate(text: string, env: NodeJS.ProcessEnv) {
  const name = parseHubName(text);
  const cache = hubCacheDir(env);
  const repository = join(cache, `models--${name.repository.replace('/', '--')}`);
  const info = await stat(repository).catch((error: unknown) => {
    if (!missing(error)) throw asCheckpointError(error, repository);
  });
  if (info?.isDirectory() !== true) {
    const message = `${name.text} is not in the Hugging Face cache ${cache}. Get it with \`${download(name)}\`.`;
    throw new CheckpointError('HUB_NOT_CACHED', message, { name: name.text, cache });
  }
  const commit = isCommit(name.revision) ? name.revision : await commitOf(name, repository);
  const snapshot = join(repository, 'snapshots', commit);
  if (isCommit(name.revision) && (await stat(snapshot).catch(() => undefined)) === undefined) {
    throw await unknownRevision(name, repository);
  }
  return { name, commit, snapshot };
}

async function commitOf(name: HubName, repository: string): Promise<string> {
  const path = join(repository, 'refs', ...name.revision.split('/'));
  const info = await stat(path).catch((error: unknown) => {
    if (!missing(error)) throw asCheckpointError(error, path);
  });
  if (info?.isFile() !== true) throw await unknownRevision(name, repository);
  const { handle, size } = await openRegularFile(path);
  try {
    const bytes = new Uint8Array(Math.min(size, MAX_REF_BYTES + 1));
    await readFully(handle, bytes, 0, path);
    const commit = Buffer.from(bytes).toString('latin1').trim();
    if (size <= MAX_REF_BYTES && isCommit(commit)) return commit;
  } finally {
    await handle.close();
  }
  const message = `${path}: does not hold a commit. Repeat \`${download(name)}\`.`;
  throw new CheckpointError('HUB_REF_DAMAGED', message, { path });
}

async function unknownRevision(name: HubName, repository: string): Promise<CheckpointError> {
  const refs = join(repository, 'refs');
  const entries = await readdir(refs, { recursive: true, withFileTypes: true }).catch(() => []);
  const branches = entries
    .filter((entry) => entry.isFile())
    .map((entry) => relative(refs, join(entry.parentPath, entry.name)).split(sep).join('/'));
  const commits = (await readdir(join(repository, 'snapshots')).catch(() => [])).filter(isCommit);
  const revisions = [...branches.sort(), ...commits.sort()];
  const shown = revisions.slice(0, SHOWN_REVISIONS).map((revision) => quote(revision).slice(1, -1));
  const more = revisions.length > shown.length ? ` and ${revisions.length - shown.length} more` : '';
  const there = shown.length === 0 ? 'no revision at all' : `${shown.join(', ')}${more}`;
  const message = `${name.repository} has no revision ${name.revision} in the Hugging Face cache; there is ${there}. Name one of them after @, or get it with \`${download(name)}\`.`;
  return new CheckpointError('HUB_REVISION_NOT_CACHED', message, { name: name.text, path: repository, revisions });
}

function incomplete(name: HubName, commit: string, what: string, cause?: unknown): CheckpointError {
  const message = `${name.text} (commit ${commit}) is in the Hugging Face cache only in part: ${what}. Complete it with \`${download(name)}\`.`;
  return new CheckpointError('HUB_SNAPSHOT_INCOMPLETE', message, { name: name.text, commit }, { cause });
}

function download({ repository, revision }: HubName): string {
  return `hf download ${repository}${revision === 'main' ? '' : ` --revision ${revision}`}`;
}

function missing(error: unknown): boolean {
  const code = (error as NodeJS.ErrnoException | null)?.code;
  return code === 'ENOENT' || code === 'ENOTDIR';
}
