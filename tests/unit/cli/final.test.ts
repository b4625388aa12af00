/** How `log`, `show`, `why`, `status`, `seal` and `revoke` say what is final and what is out. */
import { describe, expect, test } from 'vitest';
import { renderLog, renderUpdate, renderWhy } from '../../../node/cli/verbs/render-update.ts';
import { renderRevocation } from '../../../node/cli/verbs/revoke.ts';
import { renderSeal } from '../../../node/cli/verbs/seal.ts';
import { renderStatus } from '../../../node/cli/verbs/status.ts';
import type { StatusDocument, UpdateDocument } from '../../../node/service/documents.ts';

const update: UpdateDocument = {
  id: 'bafyupdate',
  kind: 'update',
  state: 'held',
  waitsFor: [],
  author: 'z6Mk',
  seq: 0,
  parents: [],
  payload: 'bafypayload',
  target: null,
  amendment: null,
  payloadBytes: 7,
  recordBytes: 9,
  title: 'mine',
  license: '',
  note: '',
  position: 0,
  verdict: 'accepted',
  gate: null,
  takenOut: false,
  revocation: null,
  epoch: 2,
  provisional: false,
  deciding: false,
  density: 0.2,
  norm: 1,
};
const none = { payload: null, payloadBytes: null, title: '', verdict: 'none', density: null, norm: null } as const;
const revocation: UpdateDocument = {
  ...update,
  ...none,
  id: 'bafyrevocation',
  kind: 'revocation',
  target: 'bafyupdate',
};
const amendment: UpdateDocument = {
  ...update,
  ...none,
  id: 'bafyamendment',
  kind: 'amendment',
  amendment: { number: 3, changes: { membership: { open: false, add: ['z6Mkadded'], remove: [] } } },
};

describe('a line of the log', () => {
  test.each<[string, UpdateDocument, RegExp]>([
    ['sealed', update, /accepted +sealed #2 .*mine/],
    ['provisional', { ...update, epoch: null }, /accepted +provisional/],
    ['pending', { ...update, state: 'pending', epoch: null, verdict: 'undecided' }, /pending +- /],
    ['taken out', { ...update, takenOut: true, revocation: 'bafyr' }, /accepted, taken out +sealed #2/],
    ['revoked, still in', { ...update, revocation: 'bafyr' }, /accepted, out at the next seal +sealed #2/],
    [
      'declined and revoked',
      { ...update, verdict: 'declined', gate: 'norm', revocation: 'bafyr' },
      /declined \(norm\), revoked/,
    ],
    ['a revocation', revocation, /bafyrevocation +- +sealed #2 .*revokes bafyupdate/],
    ['an amendment', amendment, /bafyamendment +- .*amendment 3: members \+1/],
  ])('%s', (_what, line, expected) => {
    expect(renderLog([line])).toMatch(expected);
  });
});

test('show tells what a record of each kind says', () => {
  expect(renderUpdate({ ...update, takenOut: true, revocation: 'bafyr' })).toMatch(
    /^verdict +accepted, taken out\nrevoked by +bafyr$/m,
  );
  expect(renderUpdate(revocation)).toMatch(/^revocation +bafyrevocation\n[\s\S]*^revokes +bafyupdate$/m);
  expect(renderUpdate(amendment)).toMatch(/^amendment +3\n[\s\S]*^member added +z6Mkadded$/m);
  for (const record of [revocation, amendment]) expect(renderUpdate(record)).not.toMatch(/payload|verdict|norm/);
});

describe('why', () => {
  const why = { ...update, update: update.id, gates: [] };

  test('of what was adopted says that it was not replayed', () => {
    expect(renderWhy(why)).toMatch(/is accepted: as its seal says; the gates were not run here/);
    expect(renderWhy({ ...why, verdict: 'declined', gate: 'kinship' })).toMatch(
      /is declined by kinship: as its seal says/,
    );
  });

  test('says whether it is final, out, or leaves', () => {
    expect(renderWhy(why)).toMatch(/Sealed in epoch 2: final\.$/);
    expect(renderWhy({ ...why, epoch: null, provisional: true })).toMatch(/Provisional: no seal covers it/);
    expect(renderWhy({ ...why, takenOut: true, revocation: 'bafyr' })).toMatch(/Taken out by revocation bafyr/);
    expect(renderWhy({ ...why, revocation: 'bafyr' })).toMatch(/Revoked by bafyr; out at the next seal/);
  });

  test('of a record that is no update says so', () => {
    expect(renderWhy({ ...why, kind: 'amendment', verdict: 'none' })).toMatch(/is no update but of kind amendment/);
  });
});

test('a seal says what became final with it', () => {
  const seal = {
    seal: 'bafyseal',
    number: 4,
    records: 7,
    amendments: ['a'],
    revocations: ['b', 'c'],
    recipe: 'bafyr',
    updates: 5,
  };
  const text = renderSeal(seal);
  expect(text).toMatch(
    /^seal 4 {2}bafyseal\n7 records are final; amendments now in effect: 1; .* out: 2\nrecipe bafyr/,
  );
  expect(renderSeal({ ...seal, amendments: [], revocations: [] })).not.toMatch(/amendments|revocations/);
});

test('a revocation says when, and that it is not the first', () => {
  const done = {
    revocation: 'bafyr',
    update: 'bafyu',
    already: false,
    effective: 'now',
    recipe: 'bafyrecipe',
  } as const;
  expect(renderRevocation(done)).toBe('bafyu is revoked, by bafyr\nit is no part of the model: recipe bafyrecipe');
  expect(renderRevocation({ ...done, effective: 'at the next seal' })).toMatch(/leaves the model at the next seal/);
  expect(renderRevocation({ ...done, already: true })).toMatch(/^bafyu is revoked already, by bafyr/);
});

describe('status', () => {
  const status: StatusDocument = {
    version: '1',
    community: { id: 'bafyc', name: 'c', membership: 'members' },
    daemon: null,
    author: 'z6Mk',
    peers: 0,
    log: { held: 4, pending: 0, accepted: 3, declined: 0 },
    waiting: [],
    recipe: { id: 'bafytail', updates: 3, provisional: true },
    sealed: null,
    rules: { amendment: 0, pending: 0, sealers: { keys: ['z6Mk'], threshold: 1 } },
    deciding: false,
    folding: null,
    checkpoint: null,
    problem: null,
    device: null,
    eigensolver: null,
  };
  const sealed = {
    number: 2,
    seal: 'bafyseal',
    recipe: 'bafysealed',
    updates: 2,
    records: 3,
    tail: 1,
    state: 'replayed',
  } as const;

  test('without a seal says that everything is provisional, and whether that stays', () => {
    expect(renderStatus(status)).toMatch(
      /^recipe .*provisional[\s\S]*^sealed +nothing yet; everything is provisional$/m,
    );
    const nobody = { ...status, rules: { ...status.rules, sealers: { keys: [], threshold: 0 } } };
    expect(renderStatus(nobody)).toMatch(/^sealed +nothing, ever: nobody seals here/m);
  });

  test('names what is sealed, the tail, and what was only adopted', () => {
    const text = renderStatus({ ...status, sealed });
    expect(text).toMatch(
      /^sealed +bafysealed {2}\(2 updates, by seal 2\)\n +bafyseal\ntail +1 records after the seal, provisional$/m,
    );
    expect(renderStatus({ ...status, sealed: { ...sealed, state: 'adopted, not replayed' } })).toMatch(
      /by seal 2: adopted, not replayed/,
    );
    const whole = { ...status, recipe: { ...status.recipe, provisional: false }, sealed: { ...sealed, tail: 0 } };
    expect(renderStatus(whole)).toMatch(/^recipe .*sealed\)$[\s\S]*^tail +empty: everything is sealed$/m);
  });

  test('shows amendments, and an alarm as a problem', () => {
    expect(renderStatus(status)).toMatch(/^rules +as the charter was written$/m);
    const amended = { ...status, rules: { ...status.rules, amendment: 2, pending: 1 } };
    expect(renderStatus(amended)).toMatch(/^rules +with amendments up to 2; 1 pending until the next seal$/m);
    const alarmed = { ...status, problem: { code: 'SEAL_CONFLICT', message: 'there are two seals' } };
    expect(renderStatus(alarmed)).toMatch(/^problem +there are two seals \[SEAL_CONFLICT\]$/m);
  });
});
