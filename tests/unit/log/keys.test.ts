import { generateKeyPairSync } from 'node:crypto';
import { base58btc } from 'multiformats/bases/base58';
import { describe, expect, it } from 'vitest';
import {
  generateKey,
  keyFromPem,
  keyFromSeed,
  keyFromText,
  keySeed,
  keyToPem,
  keyToText,
  signBytes,
  verifyBytes,
} from '../../../src/log/index.ts';
import { codeOf, testKey } from './helpers.ts';

const message = new TextEncoder().encode('message');

describe('keys', () => {
  it('give the public key of RFC 8032’s first test vector', () => {
    const seed = Buffer.from('9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60', 'hex');
    const key = keyFromSeed(seed);
    expect(Buffer.from(key.publicKey).toString('hex')).toBe(
      'd75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a',
    );
    expect(keySeed(key)).toEqual(new Uint8Array(seed));
  });

  it('survive their PEM file and their text form', () => {
    const key = generateKey();
    expect(keyFromPem(keyToPem(key)).publicKey).toEqual(key.publicKey);
    const text = keyToText(key.publicKey);
    expect(text).toMatch(/^z6Mk[1-9A-HJ-NP-Za-km-z]{44}$/);
    expect(keyFromText(text)).toEqual(key.publicKey);
  });

  it('refuse other files and other texts', () => {
    const rsa = generateKeyPairSync('x25519').privateKey.export({ format: 'pem', type: 'pkcs8' }).toString();
    expect(codeOf(() => keyFromPem(rsa))).toBe('BAD_KEY');
    expect(codeOf(() => keyFromPem('no key'))).toBe('BAD_KEY');
    const text = keyToText(testKey(1).publicKey);
    const otherCodec = base58btc.encode(Uint8Array.of(0xec, 0x01, ...testKey(1).publicKey));
    for (const bad of ['', text.slice(1), `${text}1`, ` ${text.slice(1)}`, `${text.slice(0, -1)}0`, otherCodec]) {
      expect(codeOf(() => keyFromText(bad))).toBe('BAD_KEY_TEXT');
    }
  });

  it.each([
    ['zero', '00'.repeat(32)],
    ['the neutral element', `01${'00'.repeat(31)}`],
    ['the neutral element with a sign bit', `01${'00'.repeat(30)}80`],
    ['order two', `ec${'ff'.repeat(30)}7f`],
    ['order eight', '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05'],
    ['order eight, other sign', 'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa'],
    ['a second encoding of 1 (p + 1)', `ee${'ff'.repeat(30)}7f`],
  ])('refuse a point of small order or with two encodings: %s', (_, hex) => {
    const key = new Uint8Array(Buffer.from(hex, 'hex'));
    expect(codeOf(() => keyToText(key))).toBe('BAD_KEY');
    expect(verifyBytes(key, 'kinmerge/record/1', message, new Uint8Array(64))).toBe(false);
  });
});

describe('signatures', () => {
  const key = testKey(1);
  const signature = signBytes(key, 'kinmerge/record/1', message);

  it('hold for their key, domain and bytes only', () => {
    expect(verifyBytes(key.publicKey, 'kinmerge/record/1', message, signature)).toBe(true);
    expect(verifyBytes(key.publicKey, 'kinmerge/head/1', message, signature)).toBe(false);
    expect(verifyBytes(testKey(2).publicKey, 'kinmerge/record/1', message, signature)).toBe(false);
    expect(verifyBytes(key.publicKey, 'kinmerge/record/1', message.slice(1), signature)).toBe(false);
    expect(verifyBytes(key.publicKey, 'kinmerge/record/1', message, signature.slice(1))).toBe(false);
    expect(verifyBytes(key.publicKey.slice(1), 'kinmerge/record/1', message, signature)).toBe(false);
  });

  it('separate domain and bytes by a zero byte', () => {
    const joined = new TextEncoder().encode('kinmerge/record/1\0message');
    const bare = signBytes(key, '' as 'kinmerge/head/1', joined.slice());
    expect(verifyBytes(key.publicKey, 'kinmerge/record/1', message, bare)).toBe(false);
  });

  it('have no second form: s + group order fails', () => {
    const order = 2n ** 252n + 27742317777372353535851937790883648493n;
    const s = BigInt(`0x${Buffer.from(signature.slice(32)).reverse().toString('hex')}`) + order;
    const twisted = signature.slice();
    twisted.set(Buffer.from(s.toString(16).padStart(64, '0'), 'hex').reverse(), 32);
    expect(verifyBytes(key.publicKey, 'kinmerge/record/1', message, twisted)).toBe(false);
  });
});
