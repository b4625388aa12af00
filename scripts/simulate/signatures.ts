import type crypto from 'node:crypto';

/** Outcomes remembered at most; a run of 1,000 nodes with some thousand records and heads stays below. */
const MAX_REMEMBERED = 1_000_000;

type Crypto = Pick<typeof crypto, 'createPublicKey' | 'createHash' | 'verify'>;

/**
 * Every node checks the signature of every record and head, for 0.1 ms each: here a signature is checked once, really,
 * and its outcome remembered by key, signature and what was signed. Public keys are made from their bytes once.
 */
export function rememberVerified(original: Crypto): Pick<Crypto, 'createPublicKey' | 'verify'> {
  // The functions as they are now: the object will have those returned here in their place.
  const { createPublicKey, createHash, verify } = original;
  const keys = new Map<string, crypto.KeyObject>();
  const names = new WeakMap<object, string>();
  const outcomes = new Map<string, boolean>();

  const keyOf = (input: Parameters<typeof createPublicKey>[0]): crypto.KeyObject => {
    if (typeof input !== 'object' || !('key' in input) || !Buffer.isBuffer(input.key)) return createPublicKey(input);
    const name = input.key.toString('base64');
    const known = keys.get(name);
    if (known !== undefined) return known;
    const key = createPublicKey(input);
    keys.set(name, key);
    names.set(key, name);
    return key;
  };

  const check = (algorithm: null, data: Uint8Array, key: crypto.KeyObject, signature: Uint8Array): boolean => {
    const name = names.get(key);
    if (name === undefined) return verify(algorithm, data, key, signature);
    const digest = createHash('sha256').update(name).update(signature).update(data).digest('base64');
    const known = outcomes.get(digest);
    if (known !== undefined) return known;
    const outcome = verify(algorithm, data, key, signature);
    if (outcomes.size < MAX_REMEMBERED) outcomes.set(digest, outcome);
    return outcome;
  };

  // `verify` has a form with a callback, which nothing here uses.
  return { createPublicKey: keyOf, verify: check as typeof verify };
}
