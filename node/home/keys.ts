import { chmod, readFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { makeDirectoryDurably, writeFileDurably } from '../../src/durable.ts';
import type { SigningKey } from '../../src/log/keys.ts';
import { generateKey, keyFromPem, keyToPem } from '../../src/log/keys.ts';
import { NodeError } from '../errors.ts';
import { exists } from '../files.ts';

/** Mode of a private key file: its owner may read and write it, nobody else anything. */
export const KEY_FILE_MODE = 0o600;

/** @throws NodeError `KEY_INVALID` when the file is not an ed25519 key */
export async function loadKey(path: string): Promise<SigningKey> {
  try {
    return keyFromPem(await readFile(path, 'utf8'));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') throw error;
    throw new NodeError(
      'KEY_INVALID',
      `${path} is not an ed25519 private key in PEM (PKCS #8): restore it from a backup`,
      {
        path,
      },
    );
  }
}

/** Loads a key, or makes and stores one. */
export async function loadOrCreateKey(path: string): Promise<SigningKey> {
  if (await exists(path)) return loadKey(path);
  const key = generateKey();
  await makeDirectoryDurably(dirname(path), 0o700);
  await writeFileDurably(path, Buffer.from(keyToPem(key)), KEY_FILE_MODE);
  await chmod(path, KEY_FILE_MODE);
  return key;
}
