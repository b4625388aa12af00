import { cp, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { generateKeyPair } from '@libp2p/crypto/keys';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { SIDECAR_FILE } from '../../../node/checkpoint/sidecar.ts';
import { homePaths } from '../../../node/home/paths.ts';
import { foldPayload } from '../../../node/work/merge-calls.ts';
import { blocks, createHost, formatJoinLine } from '../../../protocols/index.ts';
import { createEngine, type MatrixEngine } from '../../../src/compute/index.ts';
import { type Charter, charterId, decodeCharter, encodeCharter, parseId, recipeId } from '../../../src/log/index.ts';
import { exportMerged } from '../../../src/merge/index.ts';
import { openCheckpoint } from '../../../src/tensors/index.ts';
import { BASE, copyWith, expert, namesIn } from '../support/files.ts';
import { agree, type DemoNode, holding, Stage } from '../support/network.ts';

const SETUP_MS = 120_000;
const TEST_MS = 60_000;

/** Accepted updates of the community: enough that order matters, few enough to fold again in every test. */
const TITLES = ['mnist', 'signs', 'kmnist'] as const;

/** As much of a sidecar as these tests touch. */
interface Sidecar {
  recipe: string;
  updates: string[];
  frontier: string[];
}

let stage: Stage;
let ada: DemoNode;
let recipe: string;

beforeAll(async () => {
  stage = await Stage.open();
  ada = await stage.joinAndStart('ada', await stage.createVision8());
  for (const title of TITLES) await stage.contribute(ada, expert(title), title);
  recipe = await agree([ada], holding(TITLES.length));
}, SETUP_MS);

afterAll(() => stage.close());

describe('a pulled checkpoint', () => {
  let pulled: string;
  let forge: Forge;

  beforeAll(async () => {
    pulled = stage.path('pulled');
    const done = await stage.cast.run('eve', 'pull', '--community', ada.ready.join[0]!, '--out', pulled);
    expect(done).toMatchObject({ recipe, updates: TITLES.length });
    forge = await Forge.open(pulled);
  }, SETUP_MS);

  afterAll(() => forge.close());

  const verify = (directory: string, ...options: string[]) =>
    stage.attempt('eve', 'verify', directory, '--base', BASE, ...options);

  /** Refused, and the failed tensors named when it is the weights that differ. */
  async function expectRefused(directory: string, code: string, tensors = 0): Promise<void> {
    const { code: exit, document } = await verify(directory);
    expect(document, JSON.stringify(document)).toMatchObject({ error: { code } });
    expect(exit).toBe(3);
    const verdicts = (document.error.fields.tensors ?? []) as { verdict: string }[];
    expect(verdicts.filter(({ verdict }) => verdict === 'fail').length).toBeGreaterThanOrEqual(tensors);
  }

  test('passes on every tensor, and to the byte', { timeout: TEST_MS }, async () => {
    const { code, document } = await verify(pulled, '--exact');
    expect(code).toBe(0);
    expect(document).toMatchObject({ recipe, verdict: 'pass', exact: true, checked: 53, total: 53, updates: 3 });
    expect(document.tensors.every(({ verdict }: { verdict: string }) => verdict === 'pass')).toBe(true);
  });

  test('passes in a home of the community that is running its daemon', { timeout: TEST_MS }, async () => {
    const verified = await stage.attempt('ada', 'verify', pulled, '--base', BASE, '--tensors', '5');
    expect(verified).toMatchObject({ code: 0, document: { verdict: 'pass', checked: 5, total: 53 } });
  });

  test('is the one that its node has, and pulls the same from there', { timeout: TEST_MS }, async () => {
    const out = stage.path('pulled-from-own-daemon');
    await stage.cast.run('ada', 'pull', '--out', out);
    expect(await namesIn(out)).toEqual(await namesIn(pulled));
    for (const name of await namesIn(out)) {
      expect(Buffer.compare(await readFile(join(out, name)), await readFile(join(pulled, name))), name).toBe(0);
    }
  });

  test('is refused when one weight was moved', { timeout: TEST_MS }, async () => {
    const forged = await forge.copy('moved', async (weights) => {
      await copyWith(join(pulled, 'model.safetensors'), weights, forge.linear, {
        values: (values) => {
          values[7]! += 0.01;
        },
      });
    });
    await expectRefused(forged, 'VERIFY_FAILED', 1);
  });

  test('is refused to the byte when one weight was moved by one bit', { timeout: TEST_MS }, async () => {
    const forged = await forge.copy('bit', async (weights) => {
      const bytes = await readFile(join(pulled, 'model.safetensors'));
      bytes[bytes.length - 4]! ^= 1;
      await writeFile(weights, bytes);
    });
    const refused = await verify(forged, '--exact');
    expect(refused).toMatchObject({ code: 3, document: { error: { code: 'VERIFY_FAILED' } } });
    const failed = refused.document.error.fields.tensors.filter(
      ({ verdict }: { verdict: string }) => verdict === 'fail',
    );
    expect(failed).toMatchObject([{ faults: ['bytes'] }]);
  });

  test('is refused when two updates were swapped in the merge', { timeout: TEST_MS }, async () => {
    const [first, second, third] = forge.sidecar.updates as [string, string, string];
    const forged = await forge.merge('swapped', [second, first, third], {});
    await expectRefused(forged, 'VERIFY_FAILED', 10);
  });

  test('is refused when two updates were swapped in the recipe as well', { timeout: TEST_MS }, async () => {
    const [first, second, third] = forge.sidecar.updates as [string, string, string];
    const forged = await forge.merge('swapped-recipe', [first, third, second], { recipe: true });
    await expectRefused(forged, 'RECIPE_MISMATCH');
  });

  test('is refused when two updates were swapped in the recipe, whose id stayed', { timeout: TEST_MS }, async () => {
    const [first, second, third] = forge.sidecar.updates as [string, string, string];
    const forged = await forge.copy('swapped-list');
    await forge.writeSidecar(forged, { ...forge.sidecar, updates: [second, first, third] });
    await expectRefused(forged, 'VERIFY_FAILED');
  });

  test('is refused when lambda was changed by one percent', { timeout: TEST_MS }, async () => {
    const forged = await forge.merge('lambda', forge.sidecar.updates, { lambda: 1.01 });
    await expectRefused(forged, 'VERIFY_FAILED', 17);
  });

  test('is refused when one update was left out of the merge', { timeout: TEST_MS }, async () => {
    const forged = await forge.merge('left-out', forge.sidecar.updates.slice(0, -1), {});
    await expectRefused(forged, 'VERIFY_FAILED', 17);
  });

  test('is refused when one update was left out of the recipe as well', { timeout: TEST_MS }, async () => {
    const forged = await forge.merge('left-out-recipe', forge.sidecar.updates.slice(0, -1), { recipe: true });
    await expectRefused(forged, 'RECIPE_MISMATCH');
  });

  test('is refused without its sidecar, and against another base', { timeout: TEST_MS }, async () => {
    const forged = await forge.copy('bare');
    await rm(join(forged, SIDECAR_FILE));
    await expectRefused(forged, 'VERIFY_FAILED');
    const other = await stage.attempt('eve', 'verify', pulled, '--base', expert('mnist'));
    expect(other).toMatchObject({ code: 3, document: { error: { code: 'BASE_MISMATCH' } } });
  });
});

describe('a pull', () => {
  const peers: { stop(): unknown }[] = [];

  afterEach(async () => {
    for (const peer of peers.splice(0)) await peer.stop();
  });

  /** A peer that answers every request for an object with the same bytes. */
  async function liar(bytes: Uint8Array) {
    const privateKey = await generateKeyPair('Ed25519');
    const host = await createHost(
      { privateKey, listen: ['/ip4/127.0.0.1/tcp/0'], version: '0.0.0-test', communities: [] },
      { blocks: blocks({ source: { object: async () => bytes, block: async () => undefined } }) },
    );
    peers.push(host);
    return host;
  }

  test('takes no charter that does not hash to the community id', { timeout: TEST_MS }, async () => {
    const real = decodeCharter(await readFile(stage.path('charter.cbor')));
    const forged = encodeCharter({ ...real, name: 'not this one' });
    const peer = await liar(forged);
    const line = formatJoinLine(parseId(ada.ready.community), peer.getMultiaddrs()[0]!);
    const out = stage.path('from-liar');
    for (const verb of [
      ['pull', '--community', line, '--out', out],
      ['join', line, '--base', BASE],
    ]) {
      const refused = await stage.attempt('victim', ...verb);
      expect(refused).toMatchObject({ code: 3, document: { error: { code: 'CHARTER_MISMATCH' } } });
    }
    expect(await namesIn(stage.work)).not.toContain('from-liar');
    const status = await stage.attempt('victim', 'status');
    expect(status).toMatchObject({ code: 1, document: { error: { code: 'HOME_NOT_JOINED' } } });
  });

  test('from an address where nobody answers ends with code 4', { timeout: TEST_MS }, async () => {
    const peer = await liar(new Uint8Array(1));
    const line = formatJoinLine(parseId(ada.ready.community), peer.getMultiaddrs()[0]!);
    await peer.stop();
    const refused = await stage.attempt('nowhere', 'pull', '--community', line, '--out', stage.path('none'));
    expect(refused).toMatchObject({ code: 4, document: { error: { code: 'NETWORK_UNREACHABLE' } } });
    expect(await namesIn(stage.work)).not.toContain('none');
  });

  test('from a peer that has the charter and nothing else ends with code 4', { timeout: TEST_MS }, async () => {
    const peer = await liar(await readFile(stage.path('charter.cbor')));
    const line = formatJoinLine(parseId(ada.ready.community), peer.getMultiaddrs()[0]!);
    const refused = await stage.attempt('lost', 'pull', '--community', line, '--out', stage.path('none'));
    expect(refused).toMatchObject({ code: 4, document: { error: { code: 'NETWORK_UNREACHABLE' } } });
    expect(await namesIn(stage.work)).not.toContain('none');
  });

  test('of another recipe, or over what exists, is refused', { timeout: TEST_MS }, async () => {
    const other = await stage.attempt('ada', 'pull', '--out', stage.path('none'), '--recipe', ada.ready.community);
    expect(other).toMatchObject({ code: 1, document: { error: { code: 'RECIPE_UNKNOWN' } } });
    const over = await stage.attempt('ada', 'pull', '--out', stage.path('ada'));
    expect(over).toMatchObject({ code: 1, document: { error: { code: 'OUT_EXISTS' } } });
  });
});

/** Makes checkpoints that are not what they say, from the updates of the community. */
class Forge {
  readonly sidecar: Sidecar;
  /** A linear tensor. */
  readonly linear: string;
  readonly #pulled: string;
  readonly #charter: Charter;
  readonly #engine: MatrixEngine;
  #states = 0;

  private constructor(pulled: string, sidecar: Sidecar, charter: Charter, engine: MatrixEngine) {
    this.sidecar = sidecar;
    this.linear = charter.base.tensors.find(({ linear }) => linear)!.name;
    this.#pulled = pulled;
    this.#charter = charter;
    this.#engine = engine;
  }

  static async open(pulled: string): Promise<Forge> {
    const sidecar = JSON.parse(await readFile(join(pulled, SIDECAR_FILE), 'utf8')) as Sidecar;
    const charter = decodeCharter(await readFile(stage.path('charter.cbor')));
    return new Forge(pulled, sidecar, charter, await createEngine({ device: 'cpu', workers: 1 }));
  }

  async close(): Promise<void> {
    await this.#engine.close();
  }

  /** A copy of the pulled checkpoint; `write` makes its weights file. */
  async copy(name: string, write?: (weights: string) => Promise<void>): Promise<string> {
    const directory = stage.path(name);
    await cp(this.#pulled, directory, { recursive: true });
    const weights = join(directory, 'model.safetensors');
    if (write !== undefined) {
      await rm(weights);
      await write(weights);
    }
    return directory;
  }

  async writeSidecar(directory: string, sidecar: Sidecar): Promise<void> {
    await writeFile(join(directory, SIDECAR_FILE), JSON.stringify(sidecar));
  }

  /**
   * Merges updates in an order of its own.
   *
   * @param how - `recipe`: say so in the recipe and in the weights' metadata; `lambda`: factor on the normalisation
   */
  async merge(name: string, updates: readonly string[], how: { recipe?: true; lambda?: number }): Promise<string> {
    const home = homePaths(stage.path('ada'));
    const payloads = new Map((await ada.api.log()).map(({ id, payload }) => [id, join(home.blobs, payload!)]));
    let state: string | null = null;
    for (const id of updates) {
      const to = stage.path(`state-${this.#states++}`);
      const payload = payloads.get(id)!;
      await foldPayload({ from: state, to, payload, charter: this.#charter, engine: this.#engine }, {});
      state = to;
    }
    const { merge } = this.#charter;
    const id = charterId(encodeCharter(this.#charter));
    const claimed = how.recipe
      ? recipeId({ version: 1, charter: id, algorithm: 'opcm/1', updates: updates.map(parseId), merge }).toString()
      : this.sidecar.recipe;
    const directory = stage.path(name);
    const base = await openCheckpoint(BASE);
    try {
      const metadata = { 'kinmerge.community': id.toString(), 'kinmerge.recipe': claimed };
      const scale = merge.scale / (how.lambda ?? 1);
      await exportMerged({ state, base, scale, out: directory, metadata }, {});
    } finally {
      await base.close();
    }
    const listed = how.recipe ? [...updates] : this.sidecar.updates;
    await this.writeSidecar(directory, { ...this.sidecar, recipe: claimed, updates: listed });
    return directory;
  }
}
