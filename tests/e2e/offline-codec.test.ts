import { cp, mkdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { runCli } from './support/cli.ts';
import { BASE, expert, namesIn, opened, PATIENT_MS, scratch, VISION8 } from './support/files.ts';

describe('encode, inspect, decode', { timeout: PATIENT_MS }, () => {
  test('an update keeps the signs of the largest changes, at one scale', async () => {
    const dir = await scratch();
    const update = join(dir, 'mnist.update');
    const settings = ['--mode', 'global', '--density', '0.2', '--scale-unit', 'deviation', '--scale-factor', '4'];
    const encoded = await runCli(['encode', expert('mnist'), '--base', BASE, '--out', update, ...settings, '--json']);
    expect(encoded).toMatchObject({ code: 0, stderr: '' });
    const { bytes, entropyBoundBytes, fp16Bytes, nnz, elements, scales } = encoded.json;
    expect(elements).toBe(453_888);
    expect(nnz).toBe(90_777);
    expect(fp16Bytes).toBe(907_776);
    expect(bytes).toBeLessThanOrEqual(1.05 * entropyBoundBytes);
    expect(scales).toHaveLength(1);

    const inspected = await runCli(['inspect', update, '--json']);
    expect(inspected.code).toBe(0);
    expect(inspected.json).toMatchObject({
      kind: 'update',
      bytes: (await stat(update)).size,
      payloadBytes: bytes,
      entries: nnz,
      encoder: { mode: 'global', density: 0.2, scaleUnit: 'deviation', scaleFactor: 4 },
    });
    expect(inspected.json.tensors).toHaveLength(53);

    const vector = join(dir, 'mnist.safetensors');
    const decoded = await runCli(['decode', update, '--base', BASE, '--out', vector, '--json']);
    expect(decoded.json).toMatchObject({ kind: 'task vector', tensors: 53, out: vector });
    const [base, fine, values] = [await opened(BASE), await opened(expert('mnist')), await opened(vector)];
    let [kept, smallestKept, largestCut] = [0, Number.POSITIVE_INFINITY, 0];
    for (const name of base.tensors.keys()) {
      const before = await base.readFloat32(name);
      const after = await fine.readFloat32(name);
      for (const [i, value] of (await values.readFloat32(name)).entries()) {
        const change = Math.fround(after[i]! - before[i]!);
        if (value === 0) {
          largestCut = Math.max(largestCut, Math.abs(change));
        } else {
          if (value !== Math.sign(change) * scales[0]) expect.fail(`${name}[${i}] is ${value} for ${change}`);
          smallestKept = Math.min(smallestKept, Math.abs(change));
          kept++;
        }
      }
    }
    expect(kept).toBe(nnz);
    expect(smallestKept).toBeGreaterThanOrEqual(largestCut);
    expect(await namesIn(dir)).toEqual(['mnist.safetensors', 'mnist.update']);
  });

  test('without settings every tensor has a selection and a scale of its own', async () => {
    const dir = await scratch();
    const update = join(dir, 'mnist.update');
    const encoded = await runCli(['encode', expert('mnist'), '--base', BASE, '--out', update, '--json']);
    expect(encoded).toMatchObject({ code: 0, stderr: '' });
    const base = await opened(BASE);
    const counts = [...base.tensors.values()].map(({ elements }) => Math.max(1, Math.floor(0.2 * elements)));
    expect(encoded.json.nnz).toBe(counts.reduce((a, b) => a + b, 0));
    expect(encoded.json.scales).toHaveLength(counts.length);
    expect(encoded.json.bytes).toBeLessThanOrEqual(encoded.json.entropyBoundBytes);
    const inspected = await runCli(['inspect', update, '--json']);
    expect(inspected.json.encoder).toEqual({
      mode: 'tensor',
      density: 0.2,
      scaleUnit: 'magnitude',
      scaleFactor: expect.closeTo(1 / Math.sqrt(0.2), 12),
    });
    const vector = join(dir, 'mnist.safetensors');
    expect((await runCli(['decode', update, '--base', BASE, '--out', vector])).code).toBe(0);
    const values = await opened(vector);
    for (const [i, name] of [...values.tensors.keys()].sort().entries()) {
      const entries = await values.readFloat32(name);
      const magnitudes = new Set(entries.map(Math.abs).filter((value) => value !== 0));
      expect(magnitudes, name).toEqual(new Set([encoded.json.scales[i]]));
    }
  });

  test('decode --apply writes base + update as a checkpoint directory', async () => {
    const dir = await scratch();
    const base = join(dir, 'base');
    await mkdir(base);
    await cp(BASE, join(base, 'model.safetensors'));
    await writeFile(join(base, 'config.json'), '{"model_type":"vit"}');
    const update = join(dir, 'u');
    const vector = join(dir, 'v.safetensors');
    const applied = join(dir, 'applied');
    const encode = ['encode', expert('signs'), '--base', base, '--out', update];
    expect((await runCli([...encode, '--mode', 'tensor', '--density', '0.1'])).code).toBe(0);
    expect((await runCli(['decode', update, '--out', vector])).code).toBe(0);
    expect((await runCli(['decode', update, '--base', base, '--apply', '--out', applied])).code).toBe(0);
    expect(await namesIn(applied)).toEqual(['config.json', 'model.safetensors']);
    const direct = await runCli(['evaluate', update, '--graph', join(VISION8, 'model.onnx'), '--json']);
    expect(direct).toMatchObject({ code: 2, json: { error: { code: 'USAGE' } } });
    const inspected = await runCli(['inspect', applied, '--json']);
    expect(inspected.json).toMatchObject({ kind: 'checkpoint directory', sideFiles: ['config.json'] });
    const [before, delta, after] = [await opened(base), await opened(vector), await opened(applied)];
    for (const name of before.tensors.keys()) {
      const [w, t, sum] = [
        await before.readFloat32(name),
        await delta.readFloat32(name),
        await after.readFloat32(name),
      ];
      expect(sum, name).toEqual(w.map((value, i) => value + t[i]!));
    }
  });

  test('an existing --out is kept, unless --force is given', async () => {
    const dir = await scratch();
    const out = join(dir, 'u');
    await writeFile(out, 'precious');
    const args = ['encode', expert('signs'), '--base', BASE, '--out', out, '--json'];
    const refused = await runCli(args);
    expect(refused).toMatchObject({ code: 1, json: { error: { code: 'OUT_EXISTS' } } });
    expect(await readFile(out, 'utf8')).toBe('precious');
    expect((await runCli([...args, '--force'])).code).toBe(0);
    expect((await readFile(out)).subarray(0, 4).toString()).toBe('KMTC');
  });

  test('an input is never replaced, not even by force', async () => {
    const dir = await scratch();
    const copy = join(dir, 'model.safetensors');
    await cp(expert('signs'), copy);
    const result = await runCli(['encode', copy, '--base', BASE, '--out', copy, '--force', '--json']);
    expect(result).toMatchObject({ code: 2, json: { error: { code: 'USAGE' } } });
    expect((await readFile(copy)).equals(await readFile(expert('signs')))).toBe(true);
  });
});

describe('kinship', { timeout: PATIENT_MS }, () => {
  test('honest experts are almost orthogonal, compressed and uncompressed; a copy is not', async () => {
    const dir = await scratch();
    const updates: string[] = [];
    for (const task of ['mnist', 'kmnist', 'gtsrb'] as const) {
      updates.push(join(dir, task));
      expect((await runCli(['encode', expert(task), '--base', BASE, '--out', updates.at(-1)!])).code).toBe(0);
    }
    const ternary = await runCli(['kinship', ...updates, '--json']);
    expect(ternary.code).toBe(0);
    expect(ternary.json.kind).toBe('ternary');
    expect(ternary.json.pairs).toHaveLength(3);
    for (const { cosine, pearson } of ternary.json.pairs) {
      expect(cosine).toBeGreaterThanOrEqual(-0.005);
      expect(cosine).toBeLessThanOrEqual(0.06);
      expect(pearson).toBeCloseTo(cosine, 4);
    }
    // The state's fixed point and the mean of the pairs agree.
    const [ab, ac] = ternary.json.pairs;
    expect(ternary.json.kinship[0].cosine).toBeCloseTo((ab.cosine + ac.cosine) / 2, 8);

    const files = (['mnist', 'kmnist', 'gtsrb'] as const).map(expert);
    const dense = await runCli(['kinship', ...files, '--base', BASE, '--json']);
    expect(dense.json.kind).toBe('dense');
    for (const { cosine } of dense.json.pairs) {
      expect(cosine).toBeGreaterThanOrEqual(-0.003);
      expect(cosine).toBeLessThanOrEqual(0.055);
    }

    const mixed = await runCli(['kinship', updates[0]!, files[0]!, '--base', BASE, '--json']);
    expect(mixed.json.pairs[0].cosine).toBeGreaterThan(0.7);
    const copies = await runCli(['kinship', updates[0]!, updates[0]!, '--json']);
    expect(copies.json.pairs[0]).toMatchObject({ cosine: 1, euclidean: 0 });
  });

  test('checkpoints cannot be compared without their base', async () => {
    const result = await runCli(['kinship', expert('mnist'), expert('signs'), '--json']);
    expect(result).toMatchObject({ code: 2, json: { error: { code: 'USAGE' } } });
  });
});
