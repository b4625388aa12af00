import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, inject, it } from 'vitest';
import { DeviceProcess } from '../../../src/compute/provider/device-process.ts';
import { PIECE_BYTES } from '../../../src/compute/provider/parcels.ts';
import { gaussian, gaussian32 } from './random.ts';

const moduleUrl = new URL('./device-test-child.ts', import.meta.url);
const nothing = { fields: null, arrays: {} };

const opened: DeviceProcess[] = [];
function fresh(stopGraceMs?: number): DeviceProcess {
  const device = new DeviceProcess({
    provider: 'webgpu',
    moduleUrl,
    ...(stopGraceMs !== undefined && { stopGraceMs }),
  });
  opened.push(device);
  return device;
}
afterEach(() => Promise.all(opened.splice(0).map((device) => device.close())));

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

/** Whether the condition comes true within five seconds. */
async function comes(condition: () => boolean): Promise<boolean> {
  for (let i = 0; i < 100 && !condition(); i++) await sleep(50);
  return condition();
}

describe("a device's process", () => {
  it('gets matrices of any length as they are, and gives them back', async () => {
    const whole = PIECE_BYTES / Float32Array.BYTES_PER_ELEMENT;
    const arrays = {
      none: new Float32Array(0),
      one: Float64Array.of(Math.PI),
      piece: gaussian32(whole, 1),
      more: gaussian32(whole + 1, 2),
      part: Float64Array.from(gaussian(60, 3)).subarray(10, 50),
    };
    const answer = await fresh().call('echo', { fields: { rows: 3 }, arrays });
    expect(answer.fields).toEqual({ rows: 3 });
    for (const [name, array] of Object.entries(arrays)) {
      expect(answer.arrays[name]!.constructor).toBe(array.constructor);
      expect(Buffer.compare(bytesOf(answer.arrays[name]!), bytesOf(array))).toBe(0);
    }
  });

  it('reports nothing to the vendor of onnxruntime', async () => {
    const { fields } = await fresh().call('environment', nothing);
    expect(fields).toBe(process.env.ORT_DISABLE_TELEMETRY ?? '1');
  });

  it('answers one call after the other, and an unknown task with an error', async () => {
    const device = fresh();
    const calls = [1, 2, 3].map((fields) => device.call('echo', { fields, arrays: {} }));
    await expect(device.call('sing', nothing)).rejects.toMatchObject({ code: 'RUNTIME_FAILED' });
    expect((await Promise.all(calls)).map(({ fields }) => fields)).toEqual([1, 2, 3]);
  });

  it('is started again after it was killed, whose call fails', async () => {
    const device = fresh();
    await device.call('echo', nothing);
    const pid = device.pid!;
    const running = device.call('stuck', nothing);
    const behind = device.call('echo', { fields: 'behind', arrays: {} });
    process.kill(pid, 'SIGKILL');
    await expect(running).rejects.toMatchObject({ code: 'WORKER_CRASHED', fields: { signal: 'SIGKILL' } });
    expect((await behind).fields).toBe('behind');
    expect(device.pid).not.toBe(pid);
  });

  it('is started again after it was killed between calls', async () => {
    const device = fresh();
    await device.call('echo', nothing);
    process.kill(device.pid!, 'SIGKILL');
    expect(await comes(() => device.pid === null)).toBe(true);
    expect((await device.call('echo', { fields: 1, arrays: {} })).fields).toBe(1);
  });

  it('is taken away from a cancelled call that it does not leave', async () => {
    const device = fresh(50);
    await device.call('echo', nothing);
    const pid = device.pid!;
    const control = new AbortController();
    const running = device.call('stuck', nothing, { signal: control.signal });
    const queued = device.call('echo', nothing, { signal: control.signal });
    const behind = device.call('echo', { fields: 'behind', arrays: {} });
    await sleep(200);
    control.abort(new Error('enough'));
    await expect(running).rejects.toThrow('enough');
    await expect(queued).rejects.toThrow('enough');
    await expect(device.call('echo', nothing, { signal: control.signal })).rejects.toThrow('enough');
    expect((await behind).fields).toBe('behind');
    expect(await comes(() => !isAlive(pid))).toBe(true);
  });

  it('stays for the next call when one is cancelled while its matrices are on their way', async () => {
    const device = fresh();
    await device.call('echo', nothing);
    const pid = device.pid;
    const control = new AbortController();
    const arrays = { a: new Float32Array(2 ** 24) };
    const running = device.call('echo', { fields: null, arrays }, { signal: control.signal });
    control.abort(new Error('enough'));
    await expect(running).rejects.toThrow('enough');
    expect((await device.call('echo', { fields: 1, arrays: {} })).fields).toBe(1);
    expect(device.pid).toBe(pid);
  });

  it('is gone after close, also from the middle of work', async () => {
    for (const task of ['echo', 'stuck']) {
      const device = fresh(50);
      await device.call('echo', nothing);
      const pid = device.pid!;
      const running = device.call(task, nothing);
      const queued = device.call('echo', nothing);
      const closing = device.close();
      await expect(running).rejects.toMatchObject({ code: 'ENGINE_CLOSED' });
      await expect(queued).rejects.toMatchObject({ code: 'ENGINE_CLOSED' });
      await closing;
      expect(isAlive(pid)).toBe(false);
      await expect(device.call('echo', nothing)).rejects.toMatchObject({ code: 'ENGINE_CLOSED' });
    }
  });

  it('is never started by a close alone', async () => {
    const device = fresh();
    await device.close();
    expect(device.pid).toBeNull();
  });

  it.each(['leave', 'wait'])(
    'does not outlive the process that started it, nor hold it, nor print (%s)',
    async (how) => {
      const script = fileURLToPath(new URL('./device-owner.ts', import.meta.url));
      const owner = spawn(process.execPath, [script, how], { stdio: ['ignore', 'pipe', 'pipe'] });
      const exited = once(owner, 'exit');
      const output = { out: '', err: '' };
      owner.stdout.setEncoding('utf8').on('data', (text: string) => {
        output.out += text;
      });
      owner.stderr.setEncoding('utf8').on('data', (text: string) => {
        output.err += text;
      });
      expect(await comes(() => output.out.endsWith('\n'))).toBe(true);
      const pid = Number(output.out);
      if (how === 'wait') owner.kill('SIGKILL');
      await exited;
      expect(await comes(() => !isAlive(pid))).toBe(true);
      expect(output).toEqual({ out: `${pid}\n`, err: '' });
    },
  );
});

describe.skipIf(!inject('webgpu'))('work on webgpu', () => {
  it('stops at its next slice when cancelled, and the process stays', async () => {
    const device = fresh(20_000);
    const work = { fields: { slices: 1000, side: 512 }, arrays: {} };
    await device.call('long', { ...work, fields: { slices: 1, side: 512 } });
    const pid = device.pid;
    const control = new AbortController();
    const running = device.call('long', work, { signal: control.signal });
    await sleep(300);
    control.abort(new Error('enough'));
    await expect(running).rejects.toThrow('enough');
    expect((await device.call('echo', { fields: 1, arrays: {} })).fields).toBe(1);
    expect(device.pid).toBe(pid);
  });
});

function bytesOf({ buffer, byteOffset, byteLength }: Float32Array | Float64Array): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength);
}
