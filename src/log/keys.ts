import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject, sign, verify } from 'node:crypto';
import { base58btc } from 'multiformats/bases/base58';
import { equalBytes } from './canonical.ts';
import { LogError } from './errors.ts';

export const PUBLIC_KEY_BYTES = 32;
export const SIGNATURE_BYTES = 64;
/** Characters of a public key's text form: base58btc of 34 bytes that begin with 0xed01 is always this long. */
const KEY_TEXT_CHARS = 48;
/** Multicodec varint of an ed25519 public key. */
const ED25519_PUB = [0xed, 0x01] as const;
/** DER before the raw key: SubjectPublicKeyInfo and PKCS #8 of ed25519 (RFC 8410). */
const SPKI_PREFIX = Buffer.from('302a300506032b6570032100', 'hex');
const PKCS8_PREFIX = Buffer.from('302e020100300506032b657004220420', 'hex');

/** What a signature is about: a signature for one domain means nothing in another. */
export type SignatureDomain = 'kinmerge/record/1' | 'kinmerge/seal/1' | 'kinmerge/head/1';

/** An ed25519 key that can sign. */
export interface SigningKey {
  /** Raw public key, 32 bytes. */
  readonly publicKey: Uint8Array;
  readonly privateKey: KeyObject;
}

/** A new random ed25519 key. */
export function generateKey(): SigningKey {
  return fromPrivateKey(generateKeyPairSync('ed25519').privateKey);
}

/** The key of a 32-byte seed (RFC 8032's private key). @throws LogError `BAD_KEY` */
export function keyFromSeed(seed: Uint8Array): SigningKey {
  if (seed.length !== 32) throw new LogError('BAD_KEY', 'an ed25519 seed has 32 bytes', { bytes: seed.length });
  return fromPrivateKey(createPrivateKey({ key: Buffer.concat([PKCS8_PREFIX, seed]), format: 'der', type: 'pkcs8' }));
}

/** The 32-byte seed of a key, for libraries that want it raw. Keep it as secret as the key file. */
export function keySeed(key: SigningKey): Uint8Array {
  const der = key.privateKey.export({ format: 'der', type: 'pkcs8' });
  return new Uint8Array(der.subarray(der.length - 32));
}

/** PKCS #8 PEM, for a file that only its owner can read. */
export function keyToPem(key: SigningKey): string {
  return key.privateKey.export({ format: 'pem', type: 'pkcs8' }).toString();
}

/** @throws LogError `BAD_KEY` */
export function keyFromPem(pem: string): SigningKey {
  let key: KeyObject;
  try {
    key = createPrivateKey({ key: pem, format: 'pem' });
  } catch (cause) {
    throw new LogError(
      'BAD_KEY',
      'this is not a private key in PEM form; restore the key file from a copy',
      {},
      { cause },
    );
  }
  if (key.asymmetricKeyType !== 'ed25519') {
    throw new LogError('BAD_KEY', `the key file holds a key of type ${key.asymmetricKeyType}; ed25519 is needed`, {});
  }
  return fromPrivateKey(key);
}

/** Text form of a public key: multibase base58btc of multicodec 0xed01 and the key, `z6Mk…`. */
export function keyToText(publicKey: Uint8Array): string {
  checkPublicKey(publicKey, 'key');
  return base58btc.encode(Uint8Array.from([...ED25519_PUB, ...publicKey]));
}

/** @throws LogError `BAD_KEY_TEXT`, `BAD_KEY` */
export function keyFromText(text: string): Uint8Array {
  let bytes: Uint8Array | null = null;
  if (text.length === KEY_TEXT_CHARS) {
    try {
      bytes = base58btc.decode(text);
    } catch {
      bytes = null;
    }
  }
  if (bytes === null || bytes.length !== 34 || bytes[0] !== ED25519_PUB[0] || bytes[1] !== ED25519_PUB[1]) {
    throw new LogError('BAD_KEY_TEXT', `${JSON.stringify(text.slice(0, 80))} is not a public key (z6Mk…)`, {
      text: text.slice(0, 80),
    });
  }
  return checkPublicKey(bytes.slice(2), 'key');
}

/** Signs utf8(domain) ‖ 0x00 ‖ bytes; 64 bytes. */
export function signBytes(key: SigningKey, domain: SignatureDomain, bytes: Uint8Array): Uint8Array {
  return new Uint8Array(sign(null, signedMessage(domain, bytes), key.privateKey));
}

/** True when the signature is the key's over utf8(domain) ‖ 0x00 ‖ bytes. False for any unusable key or signature. */
export function verifyBytes(
  publicKey: Uint8Array,
  domain: SignatureDomain,
  bytes: Uint8Array,
  signature: Uint8Array,
): boolean {
  if (signature.length !== SIGNATURE_BYTES || !isUsableKey(publicKey)) return false;
  try {
    const key = createPublicKey({ key: Buffer.concat([SPKI_PREFIX, publicKey]), format: 'der', type: 'spki' });
    return verify(null, signedMessage(domain, bytes), key, signature);
  } catch {
    return false;
  }
}

/** @throws LogError `BAD_KEY` */
export function checkPublicKey(publicKey: Uint8Array, field: string): Uint8Array {
  if (!isUsableKey(publicKey)) throw new LogError('BAD_KEY', `${field} is not a usable ed25519 public key`, { field });
  return publicKey;
}

/** y coordinates (little-endian hex) of the eight points of small order; with either sign bit. */
const SMALL_ORDER = [
  '0000000000000000000000000000000000000000000000000000000000000000',
  '0100000000000000000000000000000000000000000000000000000000000000',
  'ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
  '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05',
  'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a',
].map((hex) => new Uint8Array(Buffer.from(hex, 'hex')));

/**
 * A key of small order verifies signatures that nobody made, and a y coordinate of p or more has a second encoding:
 * implementations disagree on both, so neither is a key here.
 */
function isUsableKey(publicKey: Uint8Array): boolean {
  if (publicKey.length !== PUBLIC_KEY_BYTES) return false;
  const y = publicKey.slice();
  y[31]! &= 0x7f;
  const aboveField = y[31] === 0x7f && y[0]! >= 0xed && y.subarray(1, 31).every((byte) => byte === 0xff);
  return !aboveField && !SMALL_ORDER.some((point) => equalBytes(point, y));
}

function signedMessage(domain: SignatureDomain, bytes: Uint8Array): Uint8Array {
  const prefix = new TextEncoder().encode(`${domain}\0`);
  const message = new Uint8Array(prefix.length + bytes.length);
  message.set(prefix);
  message.set(bytes, prefix.length);
  return message;
}

function fromPrivateKey(privateKey: KeyObject): SigningKey {
  const der = createPublicKey(privateKey).export({ format: 'der', type: 'spki' });
  return { publicKey: new Uint8Array(der.subarray(der.length - PUBLIC_KEY_BYTES)), privateKey };
}
