import { extname } from 'node:path';
import { fileURLToPath } from 'node:url';

/**
 * The URL of a sibling module to start as a worker or child process.
 *
 * Sources run as `.ts` in development (Node strips the types) and as `.js` in the package; a worker's file name is a
 * string that the compiler does not rewrite, so its extension follows that of the module that starts it.
 *
 * @param importMetaUrl - `import.meta.url` of the caller
 * @param path - relative path without extension, e.g. `./worker`
 */
export function siblingModule(importMetaUrl: string, path: string): URL {
  return new URL(path + extname(fileURLToPath(importMetaUrl)), importMetaUrl);
}
