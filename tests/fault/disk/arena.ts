import { mkdir, readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, onTestFinished } from 'vitest';
import type { ApiClient } from '../../../node/api/client.ts';
import { readSidecar } from '../../../node/checkpoint/sidecar.ts';
import { RecordBook } from '../../../node/core/record-book.ts';
import type { HomePaths } from '../../../node/home/paths.ts';
import type { StatusDocument } from '../../../node/service/documents.ts';
import { manifestOf, parseId } from '../../../src/log/index.ts';
import { testKey } from '../../unit/log/helpers.ts';
import { deaf, makePond, type Pond, payloadOf, silent, updateOf, writeModel } from '../../unit/node/support.ts';
import { startNode, type TestNode } from '../support.ts';
import type { Bytes, Names } from './disk.ts';
import { heldInLayoutOne, toLayoutOne } from './layout-one.ts';
import type { Arming } from './trace/format.ts';
import type { PhaseName } from './trace/phases.ts';
import { Traced } from './traced.ts';
import { Victim } from './victim.ts';

/** Longest wait for the nodes to be of one mind, in milliseconds: a busy machine included. */
const PATIENCE_MS = 60_000;
const POLL_MS = 20;
/** Strength of a fine-tune's change relative to the base: a tenth, as honest updates have. */
const STRENGTH = 0.1;
const UNWELCOME_STRENGTH = 5;

export interface Started {
  readonly victim: Victim;
  readonly api: ApiClient | undefined;
}

/** A running daemon that is to be killed, with its API. */
export interface Running {
  readonly victim: Victim;
  readonly api: ApiClient;
}

/**
 * A small community: a node that is killed again and again, a process of its own, and two that never are: `peer` makes
 * and holds updates, `twin` merges as the victim does.
 */
export class Arena {
  readonly pond: Pond;
  readonly home: HomePaths;
  /** Where pulls go. */
  readonly out: string;
  readonly peer: TestNode;
  readonly twin: TestNode;
  /** Records and seals that the victim said are done. */
  readonly acknowledged = new Set<string>();
  readonly seals = new Set<string>();
  readonly #powerLoss: boolean;
  #finetunes = 0;
  #victim: Victim | undefined;

  private constructor(pond: Pond, home: HomePaths, nodes: { peer: TestNode; twin: TestNode }, powerLoss: boolean) {
    this.pond = pond;
    this.home = home;
    this.out = join(pond.directory, 'out');
    this.peer = nodes.peer;
    this.twin = nodes.twin;
    this.#powerLoss = powerLoss;
  }

  static async open(options: { powerLoss: boolean }): Promise<Arena> {
    const pond = await makePond();
    const peer = await startNode(pond);
    const twin = await startNode(pond, { fold: true, peers: [peer] });
    const arena = new Arena(pond, pond.home, { peer, twin }, options.powerLoss);
    onTestFinished(() => arena.#victim?.kill());
    return arena;
  }

  async close(): Promise<void> {
    await this.#victim?.kill();
    await Promise.all([this.peer.stop(), this.twin.stop()]);
  }

  /** A new model that is a fine-tune of the base. */
  finetune(): Promise<string> {
    return this.#model(STRENGTH);
  }

  /** One that is declined, for it changes more than any honest update. */
  unwelcome(): Promise<string> {
    return this.#model(UNWELCOME_STRENGTH);
  }

  /** Lets the peer hold an update that every node declines, by an author of its own. @returns its id, and that of its payload */
  async publishUnwelcome(): Promise<{ update: string; payload: string }> {
    const number = this.#finetunes++;
    const payload = payloadOf(this.pond, number, { scale: 1000 });
    const { signed, manifest } = await updateOf(this.pond, testKey(1000 + number), payload);
    expect(await this.peer.community.book.take(signed, payload, 'its author')).toMatchObject({ outcome: 'held' });
    return { update: signed.id.toString(), payload: manifest.id.toString() };
  }

  async #model(strength: number): Promise<string> {
    const number = this.#finetunes++;
    const path = join(this.pond.directory, `finetune-${number}.safetensors`);
    await writeModel(path, strength, number);
    return path;
  }

  /** Contributes at the victim; once that is answered the update counts as acknowledged. */
  async contribute({ api }: Running): Promise<string> {
    const { update } = await api.contribute({ finetune: await this.finetune() });
    this.acknowledged.add(update!);
    return update!;
  }

  /** What a process of this home, or of another one, needs to be traced; it has to be dead. */
  async prepare(home = this.home.root): Promise<Traced> {
    await rm(this.out, { recursive: true, force: true });
    await mkdir(this.out);
    await mkdir(home, { recursive: true });
    return Traced.prepare(join(this.pond.directory, 'trace'), { home, out: this.out }, { powerLoss: this.#powerLoss });
  }

  /** Makes the dead victim's home one of layout 1. */
  async age(): Promise<void> {
    const book = await openBookReadOnly(this.pond, this.home);
    await toLayoutOne(this.home, book);
  }

  /** Starts the victim. It has no API when it was killed before it answered. */
  async start(arming?: Omit<Arming, 'token'> & { phase: PhaseName }, more: readonly string[] = []): Promise<Started> {
    const traced = await this.prepare();
    if (arming !== undefined) await traced.arm(arming.phase, arming.nth, arming.when);
    const peers = [this.peer, this.twin].map(({ network }) => network.addresses()[0]!);
    const victim = Victim.daemon(this.home.root, peers, traced, more);
    this.#victim = victim;
    return { victim, api: await victim.api(this.home.root) };
  }

  /** Makes the disk what a power loss leaves of the dead process. */
  async losePower(traced: Traced, mode: { names: Names; bytes: Bytes }, draw: () => number): Promise<void> {
    const disk = await traced.disk();
    expect(await disk.differences(), 'changes that are not in the trace').toEqual([]);
    await disk.losePower(mode, draw);
  }

  /** What must hold of the dead victim's home before anybody repairs it. */
  async checkHome(): Promise<void> {
    const old = await heldInLayoutOne(this.home);
    const { log } = await openBookReadOnly(this.pond, this.home);
    for (const id of this.acknowledged) {
      const state = old?.has(id) === true ? 'held' : log.state(parseId(id));
      expect(state, `the acknowledged update ${id}`).toBe('held');
    }
    for (const id of this.seals) {
      expect(old?.has(id) === true || log.seals.has(parseId(id)), `the acknowledged seal ${id}`).toBe(true);
    }
    expect(log.equivocations()).toEqual([]);
    for (const name of await visible(this.home.blobs)) {
      if (name.endsWith('.part')) continue;
      const { id } = await manifestOf(await readFile(join(this.home.blobs, name)));
      expect(id.toString(), 'a payload under its own name').toBe(name);
    }
    for (const [directory, files] of [
      [this.home.fold, ['S.safetensors', 'state.json']],
      [this.home.checkpoints, ['model.safetensors']],
    ] as const) {
      for (const name of await visible(directory)) {
        expect((await readdir(join(directory, name))).sort(), `${name} is there whole`).toEqual(files);
      }
    }
  }

  /** Waits until all three hold and merged the same; then nothing is left of what was interrupted. */
  async agree({ victim, api }: Running): Promise<void> {
    const { peer, twin } = this;
    const deadline = performance.now() + PATIENCE_MS;
    for (;;) {
      if (victim.dead) throw victim.failure('ended by itself');
      const states = await Promise.all([api.status(), twin.service.status(), peer.service.status()]);
      if (settled(states)) break;
      if (performance.now() > deadline) throw victim.failure(`does not agree: ${JSON.stringify(states, null, 1)}`);
      await sleep(POLL_MS);
    }
    const log = await api.log();
    for (const id of this.acknowledged) expect(log.find((update) => update.id === id)?.state, id).toBe('held');
    const seqs = log.map(({ author, seq }) => `${author} ${seq}`);
    expect(new Set(seqs).size, 'records with one seq').toBe(seqs.length);
    expect(log.map(({ id, verdict }) => [id, verdict])).toEqual(
      (await twin.service.log()).map(({ id, verdict }) => [id, verdict]),
    );
    expect(victim.errors()).toEqual([]);
    await this.#compareMerged();
    expect(await leftovers(this.home.root, victim.child.pid!)).toEqual([]);
  }

  /** States of the fold and checkpoints have the bytes of those of the node that was never killed. */
  async #compareMerged(): Promise<void> {
    const { home, community } = this.twin;
    const { recipe } = community.checkpoint!;
    for (const [mine, its] of [
      [this.home.fold, home.fold],
      [this.home.checkpoints, home.checkpoints],
    ] as const) {
      const names = await visible(its);
      const common = (await visible(mine)).filter((name) => names.includes(name));
      if (names.length > 0) expect(common.length, 'what both have').toBeGreaterThan(0);
      if (its === home.checkpoints) expect(common).toContain(recipe);
      for (const name of common) expect(await bytesBelow(join(mine, name))).toEqual(await bytesBelow(join(its, name)));
    }
  }

  /** A pulled directory is the newest or the sealed checkpoint as the node that was never killed has it. */
  async checkPulled(out: string): Promise<void> {
    const pulled = (await readSidecar(out)).recipeId.toString();
    const { recipe, sealed } = await this.twin.service.status();
    expect([recipe.id, sealed?.recipe]).toContain(pulled);
    const { 'kinmerge.json': _sidecar, ...files } = await bytesBelow(out);
    expect(files).toEqual(await bytesBelow(join(this.twin.home.checkpoints, pulled)));
  }
}

function settled([victim, ...others]: StatusDocument[]): boolean {
  const alike = (status: StatusDocument) =>
    status.recipe.id === victim!.recipe.id &&
    status.log.held === victim!.log.held &&
    status.sealed?.seal === victim!.sealed?.seal &&
    !status.deciding;
  const merged = ({ checkpoint, recipe, folding }: StatusDocument) =>
    checkpoint?.recipe === recipe.id && folding === null;
  return (
    [victim!, ...others].every((status) => status.problem === null && status.log.pending === 0 && alike(status)) &&
    [victim!, others[0]!].every(merged)
  );
}

async function openBookReadOnly(pond: Pond, home: HomePaths): Promise<RecordBook> {
  const book = new RecordBook(
    { home, charter: pond.charter, charterId: pond.charterId },
    { listener: deaf, logger: silent },
  );
  await book.load();
  return book;
}

/** Names in a directory, or none where it is missing, without those of work in progress. */
async function visible(directory: string): Promise<string[]> {
  const names = await readdir(directory).catch(() => []);
  return names.filter((name) => !name.startsWith('.'));
}

/** Names that only an interrupted step leaves, other than those of the process that runs now. */
async function leftovers(root: string, running: number): Promise<string[]> {
  const left = (await readdir(root, { recursive: true })).filter((name) => /(kinmerge-(tmp|old)|takeover)$/.test(name));
  return left.filter((name) => !name.includes(`.${running}-`));
}

/** Every file below a directory, by its path there, in base64. */
async function bytesBelow(directory: string): Promise<Record<string, string>> {
  const files: Record<string, string> = {};
  for (const entry of await readdir(directory, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    if (entry.isFile()) files[path.slice(directory.length + 1)] = (await readFile(path)).toString('base64');
  }
  return files;
}
