/**
 * A strict JSON reader over bytes, driven by what the caller expects next.
 *
 * `JSON.parse` keeps the last of two equal keys, takes 2.0 and 1e0 for integers, rounds above 2^53, accepts half
 * surrogate pairs and builds objects whose keys an attacker chooses. Here the caller sees every key and every number
 * form, and nothing is allocated that it did not ask for.
 */
import { MAX_JSON_DEPTH } from './limits.ts';

/** Why reading stopped. `type`: well-formed so far, but another kind of value was expected. */
export type JsonFault = 'syntax' | 'type' | 'surrogate' | 'number' | 'range' | 'depth' | 'length';

/** Throws the caller's own error. `offset` counts bytes of the text. */
export type JsonFail = (fault: JsonFault, reason: string, offset: number) => never;

export type JsonKind = 'object' | 'array' | 'string' | 'number' | 'true' | 'false' | 'null';

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COMMA = 0x2c;
const COLON = 0x3a;
const OPEN = { object: 0x7b, array: 0x5b };
const CLOSE = { object: 0x7d, array: 0x5d };
/** What may follow a backslash, beside `u`. */
const ESCAPES: ReadonlySet<number> = new Set([...'"\\/bfnrt'].map((c) => c.charCodeAt(0)));
const LITERALS = { true: 'true', false: 'false', null: 'null' } as const;
const NUMBER = /^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?$/;

export class JsonReader {
  readonly #bytes: Buffer;
  readonly #fail: JsonFail;
  /** Short strings seen lately: the same few words fill a header. */
  readonly #recent: (string | undefined)[] = new Array(256);
  #at = 0;

  /** @param bytes - UTF-8 that has been validated as a whole */
  constructor(bytes: Uint8Array, fail: JsonFail) {
    this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#fail = fail;
  }

  get offset(): number {
    return this.#at;
  }

  /** The kind of the value that comes next. */
  peek(): JsonKind {
    this.#space();
    const c = this.#bytes[this.#at];
    if (c === undefined) return this.#fail('syntax', 'unexpected end', this.#at);
    if (c === OPEN.object) return 'object';
    if (c === OPEN.array) return 'array';
    if (c === QUOTE) return 'string';
    if (c === 0x2d || (c >= 0x30 && c <= 0x39)) return 'number';
    if (c === 0x74) return 'true';
    if (c === 0x66) return 'false';
    if (c === 0x6e) return 'null';
    return this.#fail('syntax', 'unexpected character', this.#at);
  }

  /** Steps into an object and calls `entry` at each value; `entry` must consume exactly that value. */
  object(entry: (key: string, keyOffset: number) => void, maxKeyBytes?: number): void {
    this.#open('object', () => {
      if (this.peek() !== 'string') this.#fail('syntax', 'expected a key', this.#at);
      const keyOffset = this.#at;
      const key = this.string(maxKeyBytes);
      this.#space();
      if (this.#bytes[this.#at] !== COLON) this.#fail('syntax', 'expected a colon', this.#at);
      this.#at++;
      entry(key, keyOffset);
    });
  }

  /** Steps into an array and calls `item` at each value; `item` must consume exactly that value. */
  array(item: (index: number) => void): void {
    let index = 0;
    this.#open('array', () => item(index++));
  }

  string(maxBytes = Number.POSITIVE_INFINITY): string {
    this.#expect('string');
    const first = this.#at;
    if (!this.#passString(maxBytes)) return this.#word(first + 1, this.#at - 1);
    // Checked, and flat: a string that grows escape by escape would keep a node of 32 bytes for every two of the text.
    return JSON.parse(this.#bytes.toString('utf8', first, this.#at));
  }

  /** Checks a string and steps over it; true when it has escapes. */
  #passString(maxBytes: number): boolean {
    const bytes = this.#bytes;
    const first = this.#at++;
    let escaped = false;
    for (;;) {
      const c = bytes[this.#at];
      if (c === undefined) this.#fail('syntax', 'unterminated string', first);
      if (this.#at - first > maxBytes + 1) this.#fail('length', `string above ${maxBytes} bytes`, first);
      if (c === QUOTE) break;
      if (c < 0x20) this.#fail('syntax', 'control character in a string', this.#at);
      if (c === BACKSLASH) {
        escaped = true;
        this.#passEscape();
      } else this.#at++;
    }
    this.#at++;
    return escaped;
  }

  #word(from: number, to: number): string {
    const length = to - from;
    if (length === 0) return '';
    if (length > 16) return this.#bytes.toString('utf8', from, to);
    const slot = (this.#bytes[from]! * 31 + this.#bytes[to - 1]! * 7 + length) & 255;
    const known = this.#recent[slot];
    if (known !== undefined && known.length === length) {
      let i = 0;
      // Equal units below 128 are equal bytes; anything else falls through.
      while (i < length && this.#bytes[from + i]! < 0x80 && known.charCodeAt(i) === this.#bytes[from + i]) i++;
      if (i === length) return known;
    }
    const word = this.#bytes.toString('utf8', from, to);
    this.#recent[slot] = word;
    return word;
  }

  null(): void {
    this.#expect('null');
    this.#literal('null');
  }

  /** A plain non-negative integer up to 2^53 - 1: no sign, fraction, exponent or leading zero. */
  uint(): number {
    this.#expect('number');
    const start = this.#at;
    const bytes = this.#bytes;
    let small = 0;
    let at = start;
    // The common case without a string: digits without a leading zero, too few to overflow.
    for (; at - start < 15; at++) {
      const digit = bytes[at]! - 0x30;
      if (!(digit >= 0 && digit <= 9)) break;
      small = small * 10 + digit;
    }
    if (at > start && at - start < 15 && !isNumberByte(bytes[at]) && (at === start + 1 || bytes[start] !== 0x30)) {
      this.#at = at;
      return small;
    }
    const text = this.#number();
    if (!/^[0-9]+$/.test(text)) this.#fail('number', `${text.slice(0, 30)} is not a plain non-negative integer`, start);
    const value = Number(text);
    if (!Number.isSafeInteger(value)) this.#fail('range', `${text.slice(0, 30)} is above 2^53 - 1`, start);
    return value;
  }

  /** Any number, rounded to float64. */
  number(): number {
    this.#expect('number');
    return Number(this.#number());
  }

  /** Passes over any value. */
  skip(depth = 0): void {
    if (depth > MAX_JSON_DEPTH) this.#fail('depth', `nested deeper than ${MAX_JSON_DEPTH}`, this.#at);
    const kind = this.peek();
    switch (kind) {
      case 'object':
        this.object(() => this.skip(depth + 1));
        return;
      case 'array':
        this.array(() => this.skip(depth + 1));
        return;
      case 'string':
        this.#passString(Number.POSITIVE_INFINITY);
        return;
      case 'number':
        this.#number();
        return;
      default:
        this.#literal(kind);
    }
  }

  /** Only white space may be left. */
  end(): void {
    this.#space();
    if (this.#at < this.#bytes.length) this.#fail('syntax', 'something after the value', this.#at);
  }

  #open(kind: 'object' | 'array', entry: () => void): void {
    this.#expect(kind);
    this.#at++;
    this.#space();
    if (this.#bytes[this.#at] === CLOSE[kind]) {
      this.#at++;
      return;
    }
    for (;;) {
      entry();
      this.#space();
      const c = this.#bytes[this.#at];
      if (c !== COMMA && c !== CLOSE[kind])
        this.#fail('syntax', `expected a comma or the end of the ${kind}`, this.#at);
      this.#at++;
      if (c === CLOSE[kind]) return;
    }
  }

  #expect(kind: JsonKind): void {
    const found = this.peek();
    if (found !== kind) this.#fail('type', `expected ${kind}, found ${found}`, this.#at);
  }

  #space(): void {
    for (;;) {
      const c = this.#bytes[this.#at];
      if (c !== 0x20 && c !== 0x0a && c !== 0x0d && c !== 0x09) return;
      this.#at++;
    }
  }

  #literal(kind: keyof typeof LITERALS): void {
    const word = LITERALS[kind];
    if (this.#bytes.toString('latin1', this.#at, this.#at + word.length) !== word) {
      this.#fail('syntax', 'unexpected word', this.#at);
    }
    this.#at += word.length;
  }

  #number(): string {
    const start = this.#at;
    while (isNumberByte(this.#bytes[this.#at])) this.#at++;
    // No double has more digits that matter, and a long run must not become a long string.
    if (this.#at - start > 400) this.#fail('range', 'number with more than 400 characters', start);
    const text = this.#bytes.toString('latin1', start, this.#at);
    if (!NUMBER.test(text)) this.#fail('syntax', 'malformed number', start);
    return text;
  }

  /** At a backslash: checks an escape, or the two of a surrogate pair, and steps over it. */
  #passEscape(): void {
    const start = this.#at;
    const c = this.#bytes[start + 1];
    this.#at += 2;
    if (c !== 0x75) {
      if (!ESCAPES.has(c ?? 0)) this.#fail('syntax', 'unknown escape', start);
      return;
    }
    const unit = this.#hex();
    if (unit < 0xd800 || unit > 0xdfff) return;
    const paired = unit < 0xdc00 && this.#bytes[this.#at] === BACKSLASH && this.#bytes[this.#at + 1] === 0x75;
    if (!paired) this.#fail('surrogate', 'half of a surrogate pair', start);
    this.#at += 2;
    const low = this.#hex();
    if (low < 0xdc00 || low > 0xdfff) this.#fail('surrogate', 'half of a surrogate pair', start);
  }

  #hex(): number {
    const digits = this.#bytes.toString('latin1', this.#at, this.#at + 4);
    if (!/^[0-9a-fA-F]{4}$/.test(digits)) this.#fail('syntax', 'malformed escape', this.#at);
    this.#at += 4;
    return Number.parseInt(digits, 16);
  }
}

function isNumberByte(c: number | undefined): boolean {
  return c !== undefined && ((c >= 0x30 && c <= 0x39) || c === 0x2d || c === 0x2b || c === 0x2e || (c | 0x20) === 0x65);
}
