import { LogError } from './errors.ts';

/** Longest name of a file beside the weights, in bytes: what common file systems allow. */
export const MAX_FILE_NAME_BYTES = 255;

/**
 * Orders two texts by code point, which is also the order of their UTF-8 bytes. JavaScript's own comparison goes by
 * UTF-16 units and puts U+10000 before U+E000.
 */
export function compareCodePoints(a: string, b: string): number {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) {
    const x = a.charCodeAt(i);
    const y = b.charCodeAt(i);
    if (x === y) continue;
    const xs = (x & 0xf800) === 0xd800;
    const ys = (y & 0xf800) === 0xd800;
    if (xs !== ys) return xs ? 1 : -1;
    return x - y;
  }
  return a.length - b.length;
}

export interface TextRule {
  /** Most bytes of the UTF-8 form. */
  readonly maxBytes: number;
  /** Fewest bytes; 0 when left out. */
  readonly minBytes?: number;
  /** Line feeds and tabs are allowed. */
  readonly multiline?: boolean;
}

/** U+0000–U+001F and U+007F–U+009F would let a record write escape sequences into a reader's terminal. */
function isControl(unit: number): boolean {
  return unit < 0x20 || (unit >= 0x7f && unit <= 0x9f);
}

/**
 * Checks one text of a document.
 *
 * A leading byte order mark is refused because common decoders drop it silently: such a text would not re-encode to
 * its own bytes.
 *
 * @throws LogError `BAD_TEXT`
 */
export function checkText(value: string, field: string, rule: TextRule): string {
  const bytes = Buffer.byteLength(value, 'utf8');
  const minBytes = rule.minBytes ?? 0;
  if (bytes > rule.maxBytes || bytes < minBytes) {
    throw new LogError(
      'BAD_TEXT',
      `${field} has ${bytes} bytes; between ${minBytes} and ${rule.maxBytes} are allowed`,
      {
        field,
        bytes,
        maxBytes: rule.maxBytes,
        minBytes,
      },
    );
  }
  if (!value.isWellFormed()) {
    throw new LogError('BAD_TEXT', `${field} is not well-formed Unicode (lone surrogate)`, { field });
  }
  if (value.charCodeAt(0) === 0xfeff) {
    throw new LogError('BAD_TEXT', `${field} starts with a byte order mark; remove it`, { field });
  }
  for (let i = 0; i < value.length; i++) {
    const unit = value.charCodeAt(i);
    if (isControl(unit) && !(rule.multiline === true && (unit === 0x0a || unit === 0x09))) {
      throw new LogError('BAD_TEXT', `${field} has a control character at position ${i}; remove it`, {
        field,
        position: i,
      });
    }
  }
  return value;
}

const PORTABLE_NAME = /^[A-Za-z0-9_][A-Za-z0-9._+-]*$/;
/** Names that Windows gives to devices, whatever the extension. */
const DEVICE_NAME = /^(?:con|prn|aux|nul|com[0-9]|lpt[0-9])(?:\..*)?$/i;

/**
 * Checks a plain base name that every file system stores as it is: ASCII letters, digits, `.`, `_`, `+`, `-`; it
 * begins with a letter, a digit or `_`, does not end with `.`, and names no Windows device.
 *
 * @throws LogError `BAD_NAME`
 */
export function checkFileName(name: string, field: string): string {
  if (name.length > MAX_FILE_NAME_BYTES || !PORTABLE_NAME.test(name) || name.endsWith('.') || DEVICE_NAME.test(name)) {
    throw new LogError(
      'BAD_NAME',
      `${field} ${JSON.stringify(name.slice(0, 80))} is not a plain portable file name (letters, digits, . _ + -)`,
      { field, name: name.slice(0, 80) },
    );
  }
  return name;
}

/**
 * Checks that names are in code-point order, without repetition, also where a file system ignores case.
 *
 * @throws LogError `NOT_SORTED`
 */
export function checkFileNameOrder(names: readonly string[], field: string): void {
  const seen = new Set<string>();
  for (const [i, name] of names.entries()) {
    if (i > 0 && compareCodePoints(names[i - 1]!, name) >= 0) {
      throw new LogError('NOT_SORTED', `${field} must be in code-point order of their names, each once`, {
        field,
        name,
      });
    }
    const folded = name.toLowerCase();
    if (seen.has(folded)) {
      throw new LogError('NOT_SORTED', `${field} has two names that differ only by case: ${name}`, { field, name });
    }
    seen.add(folded);
  }
}
