/** Names the real type of a file that was taken for safetensors (or JSON), by its first bytes. */

/** Bytes that `sniff` wants to see. */
export const SNIFF_BYTES = 512;

export interface ForeignKind {
  readonly kind:
    | 'pickle'
    | 'zip'
    | 'gguf'
    | 'html'
    | 'lfs-pointer'
    | 'json'
    | 'gzip'
    | 'zstd'
    | 'hdf5'
    | 'numpy'
    | 'executable';
  /** What it is, and what to do about it. */
  readonly advice: string;
}

const CONVERT = 'Convert the weights to safetensors, e.g. with `save_pretrained(..., safe_serialization=True)`.';

const MAGIC: readonly (ForeignKind & { readonly magic: string })[] = [
  { magic: 'PK\x03\x04', kind: 'zip', advice: `a zip archive, as PyTorch's torch.save writes it. ${CONVERT}` },
  { magic: 'GGUF', kind: 'gguf', advice: 'a GGUF model. Use the unquantised safetensors weights it was made from.' },
  { magic: '\x1f\x8b', kind: 'gzip', advice: 'gzip-compressed. Unpack it first.' },
  { magic: '\x28\xb5\x2f\xfd', kind: 'zstd', advice: 'zstd-compressed. Unpack it first.' },
  { magic: '\x89HDF\r\n', kind: 'hdf5', advice: `an HDF5 file, as Keras writes it. ${CONVERT}` },
  { magic: '\x93NUMPY', kind: 'numpy', advice: 'a NumPy array. Save the tensors as safetensors.' },
  { magic: '\x7fELF', kind: 'executable', advice: 'a program, not weights.' },
  {
    magic: 'version https://git-lfs.github.com/spec/',
    kind: 'lfs-pointer',
    advice:
      'a Git LFS pointer, not the weights themselves. Run `git lfs pull` in that repository, or download the file.',
  },
];

/** @param head - the first bytes of the file, up to SNIFF_BYTES */
export function sniff(head: Uint8Array): ForeignKind | undefined {
  const text = Buffer.from(head.buffer, head.byteOffset, Math.min(head.byteLength, SNIFF_BYTES)).toString('latin1');
  for (const { magic, kind, advice } of MAGIC) if (text.startsWith(magic)) return { kind, advice };
  if (head[0] === 0x80 && head[1]! >= 2 && head[1]! <= 5)
    return { kind: 'pickle', advice: `a Python pickle. ${CONVERT}` };
  if (/^(\xef\xbb\xbf)?\s*<(!doctype|html|head|body|\?xml)/i.test(text)) {
    return {
      kind: 'html',
      advice: 'a web page, probably an error or login page saved in its place. Download it again.',
    };
  }
  if (/^(\xef\xbb\xbf)?\s*\{\s*["}]/.test(text)) return { kind: 'json', advice: 'JSON text, not weights.' };
  return undefined;
}
