import { readFile, stat, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { networkInterfaces } from 'node:os';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { connectApi } from '../../../node/api/client.ts';
import { MAX_API_BODY_BYTES, startControlApi } from '../../../node/api/server.ts';
import { LocalService } from '../../../node/service/local.ts';
import { eventually, makePond, openCommunity, scratch, writeModel } from './support.ts';

async function api() {
  const pond = await makePond();
  const community = await openCommunity(pond);
  const apiFile = join(pond.directory, 'api.json');
  let stopped = 0;
  const service = new LocalService({ community });
  const control = await startControlApi({ apiFile }, { service, stop: () => stopped++ });
  onTestFinished(() => control.close());
  const { token, port }: { token: string; port: number } = JSON.parse(await readFile(apiFile, 'utf8'));
  const ask = async (path: string, init: RequestInit = {}, authorization: string | null = `Bearer ${token}`) => {
    const headers = authorization === null ? {} : { authorization };
    const response = await fetch(`http://127.0.0.1:${port}/v1${path}`, { ...init, headers });
    return { status: response.status, body: await response.text() };
  };
  return { pond, community, apiFile, token, port, ask, stops: () => stopped };
}

const codeOf = ({ body }: { body: string }): string => JSON.parse(body).error.code;

describe('the control API', () => {
  test('answers nobody without its token, whatever is asked', async () => {
    const { ask, token, stops } = await api();
    const wrong = [
      null,
      '',
      'Bearer',
      'Bearer ',
      token,
      `Bearer ${token}x`,
      `bearer ${token}`,
      `Bearer ${'0'.repeat(64)}`,
    ];
    for (const authorization of wrong) {
      for (const path of ['/status', '/nothing']) {
        const answer = await ask(path, {}, authorization);
        expect(answer.status).toBe(401);
        expect(codeOf(answer)).toBe('API_UNAUTHORIZED');
        expect(answer.body).not.toContain(token);
      }
    }
    expect((await ask('/stop', { method: 'POST' }, null)).status).toBe(401);
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(stops()).toBe(0);
    expect((await ask('/status')).status).toBe(200);
  });

  test('keeps its token in a file that only its owner can read', async () => {
    const { apiFile, token } = await api();
    expect((await stat(apiFile)).mode & 0o777).toBe(0o600);
    expect(token).toMatch(/^[0-9a-f]{64}$/);
  });

  test('listens on loopback alone', async () => {
    const { port } = await api();
    const others = Object.values(networkInterfaces())
      .flatMap((addresses) => addresses ?? [])
      .filter(({ internal, family }) => !internal && family === 'IPv4');
    for (const { address } of others) {
      const refused = await new Promise((resolve) => {
        const socket = connect({ host: address, port, timeout: 2_000 });
        socket.once('connect', () => resolve(false)).once('error', () => resolve(true));
        socket.once('timeout', () => resolve(true));
        onTestFinished(() => void socket.destroy());
      });
      expect(refused, address).toBe(true);
    }
  });

  test.each([
    ['no JSON', 'nonsense'],
    ['nothing', ''],
    ['another shape', '{"finetune":1}'],
    ['a field too many', '{"finetune":"x","extra":1}'],
    ['a mode that does not exist', '{"finetune":"x","choice":{"mode":"both"}}'],
    ['a unit that does not exist', '{"finetune":"x","choice":{"scaleUnit":"metre"}}'],
    ['a density that is neither a number nor auto', '{"finetune":"x","choice":{"density":"much"}}'],
    ['a choice of something else', '{"finetune":"x","choice":{"scale":1}}'],
    ['a policy that does not exist', '{"finetune":"x","align":{"missing":"ignore"}}'],
    ['an evaluation without tests', '{"finetune":"x","evaluation":{"graph":"g"}}'],
  ])('refuses a body with %s', async (_what, body) => {
    const { ask } = await api();
    const answer = await ask('/contribute', { method: 'POST', body });
    expect(answer.status).toBe(400);
    expect(codeOf(answer)).toBe('API_BAD_REQUEST');
  });

  test('bounds a body at its limit, declared or not', async () => {
    const { ask } = await api();
    const bodyOf = (bytes: number) => `{"finetune":"${'x'.repeat(bytes - 15)}"}`;
    expect(Buffer.byteLength(bodyOf(MAX_API_BODY_BYTES))).toBe(MAX_API_BODY_BYTES);
    const atLimit = await ask('/pull', { method: 'POST', body: bodyOf(MAX_API_BODY_BYTES) });
    expect(atLimit.status).toBe(400);
    for (const body of [bodyOf(MAX_API_BODY_BYTES + 1), new Blob(['x'.repeat(MAX_API_BODY_BYTES + 1)]).stream()]) {
      const init = { method: 'POST', body, duplex: 'half' } as RequestInit;
      const answer = await ask('/contribute', init);
      expect(answer.status).toBe(413);
      expect(codeOf(answer)).toBe('API_BAD_REQUEST');
    }
  });

  test('says what does not exist', async () => {
    const { ask } = await api();
    const unknown = await ask('/updates/bafyreiabc/why');
    expect(unknown.status).toBe(422);
    expect(codeOf(unknown)).toBe('UPDATE_UNKNOWN');
    const path = await ask('/nothing');
    expect(path.status).toBe(404);
    expect(codeOf(path)).toBe('API_BAD_REQUEST');
  });

  test('stops the node when asked with the token', async () => {
    const { ask, stops } = await api();
    expect((await ask('/stop', { method: 'POST' })).status).toBe(200);
    await eventually(() => expect(stops()).toBe(1));
  });
});

describe('the client of the control API', () => {
  test('contributes through the daemon, with progress, and follows the events', async () => {
    const { pond, apiFile } = await api();
    const client = (await connectApi(apiFile))!;
    const controller = new AbortController();
    const events = client.events(controller.signal);
    const first = events.next();
    await eventually(async () => expect((await client.status()).deciding).toBe(false));
    const finetune = join(pond.directory, 'tuned.safetensors');
    await writeModel(finetune, 0.1);
    const progress: string[] = [];
    const done = await client.contribute(
      { finetune, title: 'mine' },
      { onProgress: ({ phase }) => progress.push(phase) },
    );
    expect(done).toMatchObject({ verdict: 'accepted' });
    expect(await client.show(done.update!)).toMatchObject({ title: 'mine', state: 'held', verdict: 'accepted' });
    expect((await client.log()).map(({ id }) => id)).toEqual([done.update]);
    expect((await client.why(done.update!)).gates.length).toBeGreaterThan(0);
    expect((await first).value).toMatchObject({ type: 'update', id: done.update });
    controller.abort();
    await expect(events.next().then(({ done }) => done)).resolves.toBeDefined();
  });

  test('governs through the daemon, as far as the keys of its home allow', async () => {
    const { pond, community, apiFile } = await api();
    const client = (await connectApi(apiFile))!;
    const rules = await client.rules();
    expect(rules).toEqual(await new LocalService({ community }).rules());
    expect(rules).toMatchObject({ amendment: 0, pending: [], membership: { open: true } });
    const finetune = join(pond.directory, 'tuned.safetensors');
    await writeModel(finetune, 0.1);
    const { update } = await client.contribute({ finetune, title: 'mine' });
    const tried = await client.dryRun({ admission: { ...rules.admission, maxDensity: 0.01 } });
    expect(tried).toMatchObject({ updates: 1, accepted: 0, differs: [{ update, title: 'mine', would: 'bounds' }] });
    const revoked = await client.revoke({ update: update!, note: 'mine to take' });
    expect(revoked).toMatchObject({ update, already: false, effective: 'now' });
    expect(await client.revoke({ update: update! })).toEqual({ ...revoked, already: true });
    await expect(client.amend({ changes: { budgets: rules.budgets } })).rejects.toMatchObject({ code: 'NOT_ALLOWED' });
    await expect(client.seal()).rejects.toMatchObject({ code: 'NOT_ALLOWED' });
    const unknown = { ...rules.admission, rank: 1 };
    await expect(client.dryRun({ admission: unknown })).rejects.toMatchObject({ code: 'API_BAD_REQUEST' });
  });

  test('keeps code and fields of an error', async () => {
    const { pond, apiFile } = await api();
    const client = (await connectApi(apiFile))!;
    await expect(client.contribute({ finetune: join(pond.directory, 'no.safetensors') })).rejects.toMatchObject({
      code: expect.not.stringMatching('UNEXPECTED'),
    });
    await expect(client.contribute({ finetune: pond.base })).rejects.toMatchObject({
      code: 'DECLINED',
      fields: { gate: expect.any(String), gates: expect.any(Array) },
    });
  });

  test('knows a daemon that is gone, a file that is missing, and a file of another process', async () => {
    const directory = await scratch();
    const apiFile = join(directory, 'api.json');
    expect(await connectApi(apiFile)).toBeUndefined();
    await writeFile(apiFile, JSON.stringify({ port: 1, token: 'x', pid: 1 }));
    expect(await connectApi(apiFile, { pid: 2 })).toBeUndefined();
    const client = (await connectApi(apiFile, { pid: 1 }))!;
    await expect(client.status()).rejects.toMatchObject({ code: 'DAEMON_UNREACHABLE' });
  });
});
