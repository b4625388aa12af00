import { describe, expect, inject, it } from 'vitest';
import { AUTO_ADVANTAGE, createEngine, probeDevice } from '../../../src/compute/index.ts';
import { installHint } from '../../../src/compute/provider/install-hints.ts';
import {
  AUTO_PROVIDERS,
  chooseDevice,
  compareRates,
  probeOnce,
  requireDevice,
} from '../../../src/compute/provider/probe.ts';

/** A device that this system does not have. */
const absent = process.platform === 'darwin' ? 'dml' : 'coreml';
const hanging = new URL('./hanging-device.ts', import.meta.url);

describe('probing a device', () => {
  it('gives the reason why there is none', async () => {
    expect(await probeDevice(absent)).toEqual({ works: false, reason: expect.stringMatching(/backend not found/) });
  });

  it('gives up on one that hangs', async () => {
    const outcome = await probeDevice('webgpu', { moduleUrl: hanging, timeoutMs: 700 });
    expect(outcome).toEqual({ works: false, reason: 'it did not answer within 0.7 s' });
  });

  it('notices one whose process dies', async () => {
    const outcome = await probeDevice('cuda', { moduleUrl: hanging });
    expect(outcome).toEqual({ works: false, reason: 'its process died (SIGKILL)' });
  });

  it.skipIf(process.platform !== 'linux')('finds no webgpu without a Vulkan driver', async () => {
    const { VK_ICD_FILENAMES: icd, VK_DRIVER_FILES: driver } = process.env;
    process.env.VK_ICD_FILENAMES = '/nonexistent';
    process.env.VK_DRIVER_FILES = '/nonexistent';
    try {
      expect(await probeDevice('webgpu')).toEqual({
        works: false,
        reason: 'Failed to get a WebGPU adapter: No supported adapters',
      });
    } finally {
      restore('VK_ICD_FILENAMES', icd);
      restore('VK_DRIVER_FILES', driver);
    }
  });

  it.skipIf(!inject('webgpu'))('multiplies on webgpu, and times it beside the cpu', async () => {
    expect(await probeDevice('webgpu')).toEqual({ works: true, rates: null });
    const outcome = await probeDevice('webgpu', { rates: true });
    expect(outcome).toEqual({ works: true, rates: { device: expect.any(Number), cpu: expect.any(Number) } });
    const { device, cpu } = (outcome as { rates: { device: number; cpu: number } }).rates;
    expect(Math.min(device, cpu)).toBeGreaterThan(0.01);
  });

  it('is done once for the process', () => {
    expect(probeOnce(absent, false)).toBe(probeOnce(absent, false));
  });
});

describe('a device that is asked for and not there', () => {
  it('is an error with the reason and the way to get it', async () => {
    await expect(createEngine({ device: absent })).rejects.toMatchObject({
      code: 'DEVICE_UNAVAILABLE',
      message: expect.stringMatching(/not available: .*backend not found.*untested.*'cpu'/),
      fields: { device: absent, hint: installHint(absent) },
    });
    await expect(requireDevice(absent)).rejects.toThrow(installHint(absent));
  });

  it('comes with a command where one installs it', () => {
    expect(installHint('webgpu', 'linux')).toMatch(/apt-get install.*mesa-vulkan-drivers.*bookworm-backports/);
    expect(installHint('webgpu', 'darwin')).toMatch(/driver/);
    expect(installHint('cuda')).toMatch(/ONNXRUNTIME_NODE_INSTALL=cuda12 npm rebuild onnxruntime-node/);
  });
});

describe('auto', () => {
  it('takes a device from the edge of being worth it', () => {
    const cpu = 10;
    const at = compareRates('webgpu', { device: AUTO_ADVANTAGE * cpu * 2, cpu }, 2);
    expect(at).toEqual({ takes: true, text: 'webgpu multiplies at 30 GFLOP/s, the CPU at 20' });
    expect(compareRates('webgpu', { device: AUTO_ADVANTAGE * cpu * 2 - 0.1, cpu }, 2).takes).toBe(false);
  });

  it('takes the first device that is worth it, else the cpu, and says why', async () => {
    const { provider, why } = await chooseDevice(1);
    const outcomes = await Promise.all(AUTO_PROVIDERS.map((name) => probeOnce(name, true)));
    const worth = AUTO_PROVIDERS.filter((name, i) => {
      const outcome = outcomes[i]!;
      return outcome.works && compareRates(name, outcome.rates!, 1).takes;
    });
    expect(provider).toBe(worth[0] ?? null);
    expect(why).toContain(provider ?? 'webgpu');
    const engine = await createEngine({ device: 'auto', workers: 1 });
    expect(engine.device).toBe(provider ?? 'cpu');
    expect(engine.description).toContain(`by auto: ${why}`);
    await engine.close();
  });
});

function restore(name: string, value: string | undefined): void {
  if (value === undefined) delete process.env[name];
  else process.env[name] = value;
}
