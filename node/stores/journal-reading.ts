import type { FileHandle } from 'node:fs/promises';
import { sha256 } from '../../src/log/index.ts';
import { NodeError } from '../errors.ts';
import {
  digestOfName,
  ENTRY_HEADER_BYTES,
  entryName,
  type JournalEntry,
  type JournalKind,
  KIND,
  kindOfName,
  MAX_ENTRY_BYTES,
  namesOfMark,
  SEGMENT_MAGIC,
} from './journal-format.ts';
import { scanJournal } from './journal-scan.ts';

/** Is told an entry; the bytes are good until it returns. */
export type Found = (entry: JournalEntry) => void;

/** What was flushed once and cannot be read any more. */
export interface Damage {
  /** Undefined for bytes without a header; what a mark says was there is told beside them. */
  readonly name: { readonly kind: JournalKind; readonly digest: Uint8Array } | undefined;
  /** What is left of it; empty where only a mark says that it was there. */
  readonly bytes: Buffer;
}

export interface SegmentContent {
  readonly damage: Damage[];
  /** Names of entries behind the last mark. */
  readonly unmarked: string[];
  /** End of the last entry that holds. */
  readonly end: number;
  /** Bytes of the file. */
  readonly length: number;
  /** Something behind the last mark does not hold, with something behind it that does. */
  readonly holes: boolean;
}

interface Broken {
  readonly at: number;
  readonly name: string | undefined;
  readonly bytes: Buffer;
}

const KINDS: ReadonlySet<number> = new Set(Object.values(KIND));

/**
 * Reads a segment. What does not hold behind the last mark was never acknowledged: it is left out. Before it, it is damage,
 * by the name in its header, or by that which a mark says was there and nothing else shows.
 *
 * @throws NodeError `HOME_NEWER` for a segment of another version
 */
export async function readSegment(
  file: FileHandle,
  found: (entry: JournalEntry, at: number) => void,
): Promise<SegmentContent> {
  await checkMagic(file);
  const good = new Set<string>();
  const marked = new Set<string>();
  const broken: Broken[] = [];
  let unmarked: string[] = [];
  let lastMark = 0;
  let end = SEGMENT_MAGIC.length;
  let firstBroken = Number.POSITIVE_INFINITY;
  let length = end;
  for await (const scanned of scanJournal(file, SEGMENT_MAGIC.length)) {
    if (scanned.what === 'garbage') {
      broken.push({ at: scanned.at, name: undefined, bytes: scanned.bytes });
      length = scanned.at + scanned.bytes.length;
      firstBroken = Math.min(firstBroken, scanned.at);
      continue;
    }
    const { at, header, body } = scanned;
    length = at + ENTRY_HEADER_BYTES + body.length;
    const name = entryName(header.kind, header.digest);
    if (scanned.what === 'broken') {
      broken.push({ at, name, bytes: Buffer.from(body) });
      firstBroken = Math.min(firstBroken, at);
      continue;
    }
    end = length;
    if (header.kind === KIND.mark) {
      for (const one of namesOfMark(body)) marked.add(one);
      lastMark = at;
      firstBroken = Number.POSITIVE_INFINITY;
      unmarked = [];
      continue;
    }
    // Of a later version within this one's frame: kept in the file, and nothing to us.
    if (!KINDS.has(header.kind)) continue;
    good.add(name);
    // What was set aside or given up is no news.
    if (header.kind === KIND.damaged || header.kind === KIND.removed) good.add(entryName(body[0] ?? 0, header.digest));
    unmarked.push(name);
    found({ kind: header.kind as JournalKind, digest: header.digest, body }, at);
  }
  return {
    damage: damageOf(
      broken.filter(({ at }) => at < lastMark),
      { good, marked },
    ),
    unmarked,
    end,
    length,
    holes: firstBroken < end,
  };
}

/** What came again since, further on in the file, is mended. */
function damageOf(
  broken: readonly Broken[],
  { good, marked }: { good: ReadonlySet<string>; marked: ReadonlySet<string> },
): Damage[] {
  const damage = new Map<string, Damage>();
  const unknown: Damage[] = [];
  for (const { name, bytes } of broken) {
    if (name === undefined) unknown.push({ name: undefined, bytes });
    else if (!good.has(name) && kindOfName(name) !== KIND.mark) damage.set(name, { name: named(name), bytes });
  }
  for (const name of marked) {
    if (good.has(name) || damage.has(name)) continue;
    damage.set(name, { name: named(name), bytes: Buffer.alloc(0) });
  }
  return [...damage.values(), ...unknown];
}

function named(name: string): NonNullable<Damage['name']> {
  return { kind: kindOfName(name), digest: digestOfName(name) };
}

async function checkMagic(file: FileHandle): Promise<void> {
  const bytes = Buffer.alloc(SEGMENT_MAGIC.length);
  await file.read(bytes, 0, bytes.length, 0);
  const version = SEGMENT_MAGIC.length - 2;
  const family = bytes.subarray(0, version).equals(SEGMENT_MAGIC.subarray(0, version));
  if (family && bytes[version] !== SEGMENT_MAGIC[version]) {
    throw new NodeError(
      'HOME_NEWER',
      'the journal of this home was written by a newer kinmerge: use that version, or another --home',
    );
  }
}

/** An entry that says that another one counts no more. */
export function removal(kind: JournalKind, digest: Uint8Array): JournalEntry {
  return { kind: KIND.removed, digest, body: Uint8Array.of(kind) };
}

/** The entry that keeps damage aside. */
export function setAside({ name, bytes }: Damage): JournalEntry {
  // Half of the largest entry is more than any of them has that matters.
  const kept = bytes.subarray(0, MAX_ENTRY_BYTES / 2);
  const digest = name?.digest ?? sha256(kept);
  return { kind: KIND.damaged, digest, body: Buffer.concat([Uint8Array.of(name?.kind ?? 0), kept]) };
}
