import type { CID } from 'multiformats/cid';
import { type DocumentLimits, decodeCanonical, encodeCanonical, idOf } from './canonical.ts';
import { checkId, checkList, checkUint, Fields } from './fields.ts';
import { MAX_CONTENT_BYTES } from './manifest.ts';
import { checkFileName, checkFileNameOrder, MAX_FILE_NAME_BYTES } from './text.ts';

/** Most files of a checkpoint. */
export const MAX_CHECKPOINT_FILES = 1024;
/** Most bytes of a checkpoint document: 340 for each file, and the rest. */
export const MAX_CHECKPOINT_BYTES = MAX_CHECKPOINT_FILES * 340 + 256;

const LIMITS: DocumentLimits = {
  what: 'checkpoint',
  maxBytes: MAX_CHECKPOINT_BYTES,
  maxDepth: 4,
  maxItems: MAX_CHECKPOINT_FILES * 9 + 32,
};

export interface CheckpointFile {
  /** Plain portable base name. */
  readonly name: string;
  /** Bytes; the manifest says the same. */
  readonly size: number;
  /** Id of the content's manifest. */
  readonly manifest: CID;
}

/** The files of one merged model. Its id is what a head names. */
export interface CheckpointDocument {
  readonly version: 1;
  readonly recipe: CID;
  /** In code-point order of their names; no two differ only by case. */
  readonly files: readonly CheckpointFile[];
}

/** Canonical bytes, after checking every field. @throws LogError */
export function encodeCheckpoint(document: CheckpointDocument): Uint8Array {
  checkId(document.recipe, 'checkpoint.recipe');
  const files = checkList([...document.files], 'checkpoint.files', 1, MAX_CHECKPOINT_FILES) as CheckpointFile[];
  for (const file of files) {
    checkFileName(file.name, 'checkpoint file');
    checkUint(file.size, 'checkpoint file size', 0, MAX_CONTENT_BYTES);
    checkId(file.manifest, 'checkpoint file manifest');
  }
  checkOrder(document);
  return encodeCanonical(
    {
      version: 1,
      recipe: document.recipe,
      files: files.map(({ name, size, manifest }) => ({ name, size, manifest })),
    },
    LIMITS,
  );
}

/** @throws LogError */
export function decodeCheckpoint(bytes: Uint8Array): CheckpointDocument {
  const fields = new Fields(decodeCanonical(bytes, LIMITS), 'checkpoint');
  fields.version(1);
  fields.closed(['version', 'recipe', 'files']);
  const document: CheckpointDocument = {
    version: 1,
    recipe: fields.id('recipe'),
    files: fields.list('files', 1, MAX_CHECKPOINT_FILES).map((value) => {
      const file = new Fields(value, 'checkpoint file').closed(['name', 'size', 'manifest']);
      return {
        name: checkFileName(file.text('name', { minBytes: 1, maxBytes: MAX_FILE_NAME_BYTES }), 'checkpoint file'),
        size: file.uint('size', 0, MAX_CONTENT_BYTES),
        manifest: file.id('manifest'),
      };
    }),
  };
  checkOrder(document);
  return document;
}

/** The id of a checkpoint document. */
export function checkpointId(document: CheckpointDocument): CID {
  return idOf(encodeCheckpoint(document));
}

function checkOrder(document: CheckpointDocument): void {
  checkFileNameOrder(
    document.files.map((file) => file.name),
    'checkpoint.files',
  );
}
