import { expect, test } from 'vitest';
import { CodecError } from '../../../src/codec/errors.ts';
import { Kernel, MAX_KERNEL_BYTES } from '../../../src/codec/kernel/kernel.ts';
import { MAX_IDLE_KERNEL_BYTES, MAX_IDLE_KERNELS, withKernel } from '../../../src/codec/kernel/pool.ts';

/** As many kernels as pieces of work under way at once. */
async function kernelsOf(count: number): Promise<Kernel[]> {
  const kernels: Kernel[] = [];
  let release = () => {};
  const together = new Promise<void>((resolve) => {
    release = resolve;
  });
  const work = Array.from({ length: count }, () =>
    withKernel(async (kernel) => {
      kernels.push(kernel);
      await together;
    }),
  );
  release();
  await Promise.all(work);
  return kernels;
}

test('pieces of work under way at once have kernels of their own, and up to a number these are kept', async () => {
  const first = await kernelsOf(MAX_IDLE_KERNELS + 1);
  expect(new Set(first).size).toBe(MAX_IDLE_KERNELS + 1);
  const second = await kernelsOf(MAX_IDLE_KERNELS + 1);
  expect(second.filter((kernel) => first.includes(kernel))).toHaveLength(MAX_IDLE_KERNELS);
});

test.each([
  ['comes back after an error of ours, now or later', new CodecError('BAD_PADDING', 'no'), true],
  ['is not used again after any other error, such as a trap', new Error('no'), false],
])('a kernel %s', async (_, error, kept) => {
  const seen: Kernel[] = [];
  const fail = (kernel: Kernel): never => {
    seen.push(kernel);
    throw error;
  };
  expect(() => withKernel(fail)).toThrow('no');
  await expect(withKernel(async (kernel) => fail(kernel))).rejects.toThrow('no');
  await expect(withKernel(async (kernel) => fail(kernel))).rejects.toThrow('no');
  expect(new Set(seen).size).toBe(kept ? 1 : 3);
});

test('one whose memory has grown beyond a limit is not kept', () => {
  const small = withKernel((kernel) => {
    kernel.reach(MAX_IDLE_KERNEL_BYTES);
    expect(kernel.bytes).toBe(MAX_IDLE_KERNEL_BYTES);
    return kernel;
  });
  const large = withKernel((kernel) => {
    expect(kernel).toBe(small);
    kernel.reach(MAX_IDLE_KERNEL_BYTES + 1);
    return kernel;
  });
  expect(withKernel((kernel) => kernel)).not.toBe(large);
});

test('more memory than addresses reach is refused, and nothing is taken', () => {
  const kernel = new Kernel();
  const { bytes } = kernel;
  expect(() => kernel.reach(MAX_KERNEL_BYTES + 1)).toThrow(
    expect.objectContaining({
      code: 'OUT_OF_MEMORY',
      fields: { bytes: MAX_KERNEL_BYTES + 1, limit: MAX_KERNEL_BYTES },
    }),
  );
  expect(kernel.bytes).toBe(bytes);
});
