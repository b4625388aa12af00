import { readFile } from 'node:fs/promises';
import type { CID } from 'multiformats/cid';
import type {
  AmendmentRecord,
  RevocationRecord,
  RuleChanges,
  SignedRecord,
  SignedSeal,
  SigningKey,
} from '../../src/log/index.ts';
import {
  equalKeys,
  isUpdate,
  keyFromPem,
  keyToText,
  MAX_PARENTS,
  signRecord,
  signSeal,
  sortedIds,
} from '../../src/log/index.ts';
import type { RunOptions } from '../../src/run-options.ts';
import { NodeError } from '../errors.ts';
import type { HomePaths } from '../home/paths.ts';
import type { Community } from './community.ts';
import type { RecordBook } from './record-book.ts';
import type { View } from './view.ts';

/** The keys of a home that speak for the community, where it has them. */
export interface GoverningKeys {
  readonly owner: SigningKey | null;
  /** Every key of the home that may be a sealer's. */
  readonly sealers: readonly SigningKey[];
}

/** @param author - the home's author key, which may be a sealer too */
export async function readGoverningKeys(home: HomePaths, author: SigningKey): Promise<GoverningKeys> {
  const owner = await readKey(home.ownerKey);
  const sealer = await readKey(home.sealerKey);
  return { owner, sealers: [owner, sealer, author].filter((key) => key !== null) };
}

async function readKey(path: string): Promise<SigningKey | null> {
  try {
    return keyFromPem(await readFile(path, 'utf8'));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
}

/**
 * Takes an update out: signs a revocation with the author's key where the update is its own, else with the owner's, and keeps it
 * durably. An update that is revoked already is not revoked again: one is enough, whatever the order. Nothing has been sent when
 * it returns.
 *
 * @throws NodeError `UPDATE_UNKNOWN`, `NOT_ALLOWED`, `UPDATE_INVALID`
 */
export function revoke(
  community: Community,
  { target, note }: { target: CID; note: string },
): Promise<{ signed: SignedRecord<RevocationRecord>; already: boolean }> {
  return community.contributions.run(async () => {
    const signed = community.book.log.get(target);
    if (signed === undefined || !isUpdate(signed)) {
      throw new NodeError('UPDATE_UNKNOWN', `${target} is no held update`, { id: target.toString() });
    }
    const known = revocationsIn(community.book).get(target.toString());
    if (known !== undefined) return { signed: known, already: true };
    const key = [community.author, community.keys.owner].find(
      (own) =>
        own !== null &&
        (equalKeys(own.publicKey, signed.record.author) || equalKeys(own.publicKey, community.options.charter.owner)),
    );
    if (key === undefined || key === null) {
      const author = keyToText(signed.record.author);
      const text = `only its author ${author} or the owner of the community can revoke ${target}: this home has the key of neither`;
      throw new NodeError('NOT_ALLOWED', text, { update: target.toString(), author });
    }
    const make = (links: Links) => ({ ...links, kind: 'revocation', target, note }) as const;
    return { signed: await publish(community, key, [target], make), already: false };
  });
}

/** The first held revocation of each update, by the update's id. */
export function revocationsIn({ log }: Pick<RecordBook, 'log'>): Map<string, SignedRecord<RevocationRecord>> {
  const found = new Map<string, SignedRecord<RevocationRecord>>();
  for (const signed of log.held()) {
    if (signed.record.kind !== 'revocation') continue;
    const target = signed.record.target.toString();
    if (!found.has(target)) found.set(target, signed as SignedRecord<RevocationRecord>);
  }
  return found;
}

/**
 * Signs the next amendment with the owner's key and keeps it durably. It comes into effect at the next seal.
 *
 * @throws NodeError `NOT_ALLOWED`, `NO_SEALERS`, `UPDATE_INVALID`; LogError for changes that no amendment can hold
 */
export function amend(
  community: Community,
  { changes, note }: { changes: RuleChanges; note: string },
): Promise<SignedRecord<AmendmentRecord>> {
  return community.contributions.run(async () => {
    const owner = ownerKey(community);
    const { rules } = await community.settled();
    if (rules.sealers.keys.length === 0) {
      throw new NodeError(
        'NO_SEALERS',
        'this community has no sealers, so no amendment would ever come into effect: its rules are those of the charter for ever',
      );
    }
    const tip = community.book.log.amendmentTip();
    return publish(
      community,
      owner,
      tip === null ? [] : [tip.id],
      (links) =>
        ({
          ...links,
          kind: 'amendment',
          number: (tip?.number ?? 0) + 1,
          previous: tip?.id ?? null,
          ...changes,
          note,
        }) as const,
    );
  });
}

/**
 * Seals what is held and in no epoch yet, with a key of this home that the rules name; keeps the seal durably. Null when there is
 * nothing to seal.
 *
 * @throws NodeError `NOT_ALLOWED`, `NO_SEALERS`, `SEAL_STOPPED`
 */
export function seal(community: Community, run: RunOptions = {}): Promise<SignedSeal | null> {
  return community.contributions.run(async () => {
    const view = await community.settled();
    const key = sealerKey(community, view);
    const proposed = await community.proposeSeal(run);
    if (proposed === null) return null;
    const signed = signSeal(proposed, [key]);
    await community.book.takeSeal(signed);
    await community.settled();
    return signed;
  });
}

/** Whether this home can seal at all. */
export function canSeal(community: Community, { rules, alarm }: View): boolean {
  return alarm === null && rules.sealers.threshold === 1 && sealersOf(community, rules.sealers.keys).length > 0;
}

function sealerKey(community: Community, { rules, alarm, waiting }: View): SigningKey {
  if (rules.sealers.keys.length === 0) {
    throw new NodeError('NO_SEALERS', 'this community has no sealers: everything in it stays provisional');
  }
  if (alarm !== null) {
    throw new NodeError('SEAL_STOPPED', `seals stand still at number ${alarm.number - 1}: see \`kinmerge status\``, {
      alarm,
    });
  }
  if (waiting !== null) {
    const text = `seal ${waiting.seal.number} is known and its records are not all here: let the node catch up first`;
    throw new NodeError('SEAL_STOPPED', text, { seal: waiting.id.toString() });
  }
  const { threshold, keys } = rules.sealers;
  if (threshold > 1) {
    const text = `a seal of this community needs ${threshold} signatures; this program makes seals with one`;
    throw new NodeError('NOT_ALLOWED', text, { threshold });
  }
  const [key] = sealersOf(community, keys);
  if (key !== undefined) return key;
  throw new NodeError(
    'NOT_ALLOWED',
    `no key of this home is a sealer's; the sealers are ${keys.map(keyToText).join(', ')}`,
    {
      sealers: keys.map(keyToText),
    },
  );
}

function sealersOf({ keys }: Community, sealers: readonly Uint8Array[]): SigningKey[] {
  return keys.sealers.filter(({ publicKey }) => sealers.some((sealer) => equalKeys(sealer, publicKey)));
}

function ownerKey({ keys, options }: Community): SigningKey {
  if (keys.owner !== null && equalKeys(keys.owner.publicKey, options.charter.owner)) return keys.owner;
  const path = options.home.ownerKey;
  throw new NodeError(
    'NOT_ALLOWED',
    `only the owner of the community can do this: ${path} does not hold the owner's key`,
    {
      owner: keyToText(options.charter.owner),
    },
  );
}

type Links = Omit<RevocationRecord, 'kind' | 'target' | 'note'>;

/** Appends a record without payload to a key's chain; it names these parents besides those that are due. */
async function publish<R extends AmendmentRecord | RevocationRecord>(
  { book, options }: Community,
  key: SigningKey,
  needed: readonly CID[],
  make: (links: Links) => R,
): Promise<SignedRecord<R>> {
  return book.publish(key.publicKey, null, ({ seq, prev, parents }) => {
    const must = new Map([...needed, ...(prev === null ? [] : [prev])].map((id) => [id.toString(), id]));
    const more = parents.filter((id) => !must.has(id.toString())).slice(0, MAX_PARENTS - must.size);
    const links = { version: 1, author: key.publicKey, charter: options.charterId, seq, prev } as const;
    return signRecord(make({ ...links, parents: sortedIds([...must.values(), ...more]) }), key);
  });
}
