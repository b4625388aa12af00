import { describe, expect, it } from 'vitest';
import {
  checkpointId,
  encodeManifest,
  idOf,
  keyFromSeed,
  parseCommunityId,
  recipeId,
  signHead,
  signRecord,
} from '../../../src/log/index.ts';
import { charterInput, digest, recordOf, sorted, testCharter, testId } from './helpers.ts';

/** Formats are for ever: these values may change only together with a document's version. */
describe('the formats of version 1', () => {
  const seed = new Uint8Array(32);
  seed[3] = 2;
  const key = keyFromSeed(seed);
  const charter = parseCommunityId('bafyreieqvbvfsmcneskb5wjjpiymwzxkk7xlqzhpqyqoezouydssh7oviy');
  const signed = signRecord(recordOf(key, { charter }), key);

  it('keep the bytes, the id and the signature of a record', () => {
    // Checked once against an encoder written from docs/log-format.md alone, in another language.
    expect(Buffer.from(signed.body).toString('hex')).toBe(
      'ab6373657100646b696e6466757064617465646e6f7465606470726576f6657469746c65656d6e69737466617574686f7258206a0f6a283a8e4e86d2a3d60ef9e37ec33f2ab6071a30e0a477735128e7571eb06763686172746572d82a5825000171122090a86a59304d24941ed9297a30cb66ea57eeb864ef8620e265d4c0e523fdd546676c6963656e73656a4170616368652d322e3067706172656e747380677061796c6f6164d82a582500017112204bf5122f344554c53bde2ebb8cd2b7e3d1600ad631c385a5d7cce23c7785459a6776657273696f6e01',
    );
    expect(signed.id.toString()).toBe('bafyreiffeulbt2fzxe6thc5r3xh36uyhe2vl3v4gorhx6delvlpoivjyte');
    expect(Buffer.from(signed.signature).toString('hex')).toBe(
      'f7d91660df263f0a15aec1bf7a6ede37b282ec8ba382cb773028621b216e865da050069e0e89fc4f4d6b4c4f75eec3324e809ca412fc392911466ed1f5aecf0b',
    );
  });

  it('keep the ids of a charter, recipe, manifest, checkpoint and head', () => {
    expect(testCharter().id.toString()).toBe('bafyreibueahdvmncdbjiyfg6lw3vatiqrmzx6lybzubdxwk3qw2kgam5va');
    const updates = [signed.id];
    expect(
      recipeId({ version: 1, charter, algorithm: 'opcm/1', updates, merge: charterInput().merge }).toString(),
    ).toBe('bafyreigr66rjlultgdbi6kcxr4m37bkx5llng2mv3cubab233rfmliiir4');
    expect(idOf(encodeManifest({ size: 1_048_577, blocks: [digest(1), digest(2)] })).toString()).toBe(
      'bafyreibfk3pefmqmbu5tt6o2jxqnnwavhagr362oej7upoigtfiw4tlbsm',
    );
    const files = [{ name: 'config.json', size: 3, manifest: testId(1) }];
    expect(checkpointId({ version: 1, recipe: testId(0), files }).toString()).toBe(
      'bafyreifyu4zkhhzdpqfkm7d6doxf5tgh5h4qfr4gacqqb2ujy3m4tsv2g4',
    );
    const head = signHead(
      {
        version: 1,
        node: key.publicKey,
        charter: testId(0),
        recipe: testId(1),
        frontier: sorted([testId(2), testId(3)]),
        truncated: false,
        accepted: 1,
        held: 2,
        checkpoint: null,
        sealed: null,
        counter: 9,
      },
      key,
    );
    expect(idOf(head.body).toString()).toBe('bafyreic3gedtsnz5vor7tqyz5ficut76lyzvpekvfpy3mmqjhdy4ek2o64');
  });
});
