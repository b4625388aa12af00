/** The eigenproblem by the kernel in `kernel/`: C compiled to WebAssembly with SIMD, which needs nothing installed. */
import { ComputeError } from '../errors.ts';
import { EIGEN_WASM } from './kernel/wasm.ts';
import { lapackInstallation } from './library.ts';
import { type Eigensolver, solveBy, type WorkMemory } from './solver.ts';

/**
 * Largest order: its matrix takes 0.5 GiB and the rotations about twice that, of the 4 GiB that the kernel addresses;
 * and it takes minutes.
 */
export const PORTABLE_ORDER_MAX = 8192;

/** Bytes of memory that a solver keeps for its next matrix; what is larger goes back at once. An order of 768 takes 15 MiB. */
const KEPT_BYTES_MAX = 64 * 2 ** 20;

/** Vectors made together: with order 768 they fill 192 KiB, which stays in the second-level cache. */
const STRIPE = 32;

const PAGE = 65_536;
const VERDICTS = ['done', 'no convergence', 'no memory'] as const;

interface Exports {
  readonly memory: WebAssembly.Memory;
  readonly __heap_base: WebAssembly.Global<'i32'>;
  tridiagonalise(a: number, stride: number, n: number, d: number, e: number, tau: number, w: number, p: number): void;
  iterate(n: number, d: number, e: number, log: number): number;
  last_turns(log: number, n: number, last: number): void;
  make_vectors(
    a: number,
    stride: number,
    n: number,
    tau: number,
    log: number,
    end: number,
    columns: number,
    count: number,
    stripe: number,
    out: number,
  ): void;
}

let compiled: WebAssembly.Module | undefined;

/** A solver with its own memory, for one thread. */
export function openPortable(): Eigensolver {
  let kept: Exports | null = null;
  return {
    name: 'portable',
    description: 'portable eigensolver (WebAssembly), one thread',
    solve(g, n, request) {
      compiled ??= new WebAssembly.Module(Buffer.from(EIGEN_WASM, 'base64'));
      const kernel = kept ?? (new WebAssembly.Instance(compiled).exports as unknown as Exports);
      kept = null;
      const result = solveBy((...task) => solve(kernel, ...task), PORTABLE_ORDER_MAX, g, n, request);
      if (kernel.memory.buffer.byteLength <= KEPT_BYTES_MAX) kept = kernel;
      return result;
    },
  };
}

function solve(
  kernel: Exports,
  g: Float64Array,
  n: number,
  wanted: (ascending: Float64Array) => number,
  buffers: WorkMemory,
): Float64Array<ArrayBuffer> {
  // Rows lie at even distances and with at least one 0 behind them.
  const stride = (n + 2) & ~1;
  const width = Math.min(STRIPE, (n + 7) & ~7);
  const at = layout(kernel, {
    a: n * stride * 8,
    d: n * 8,
    e: n * 8,
    tau: n * 8,
    w: stride * 8,
    p: stride * 8,
    last: n * 4,
    columns: STRIPE * 4,
    stripe: width * n * 8,
    out: width * n * 8,
    log: 0,
  });
  place(kernel, g, n, at.a, stride);
  f64(kernel, at.w, stride).fill(0);
  f64(kernel, at.p, stride).fill(0);
  kernel.tridiagonalise(at.a, stride, n, at.d, at.e, at.tau, at.w, at.p);
  check(VERDICTS[kernel.iterate(n, at.d, at.e, at.log)]!, kernel, n);

  const found = f64(kernel, at.d, n);
  // Ties keep their order, so equal input gives equal output.
  const order = Array.from(found.keys()).sort((i, j) => found[i]! - found[j]! || i - j);
  const count = wanted(Float64Array.from(order, (i) => found[i]!));
  kernel.last_turns(at.log, n, at.last);
  const last = new Uint32Array(kernel.memory.buffer, at.last, n);
  // Vectors whose rows are turned up to the same time together: rotations after it are left out.
  const ranks = Array.from({ length: count }, (_, rank) => ({ rank, column: order[n - 1 - rank]! }));
  ranks.sort((x, y) => last[x.column]! - last[y.column]! || x.column - y.column);
  const vectors = buffers.float64(count * n);
  for (let from = 0; from < count; from += width) {
    const part = ranks.slice(from, from + width);
    new Int32Array(kernel.memory.buffer, at.columns, part.length).set(part.map(({ column }) => column));
    const end = Math.max(at.log, last[part.at(-1)!.column]!);
    kernel.make_vectors(at.a, stride, n, at.tau, at.log, end, at.columns, part.length, at.stripe, at.out);
    part.forEach(({ rank }, i) => {
      vectors.set(f64(kernel, at.out + i * n * 8, n), rank * n);
    });
  }
  return vectors;
}

/** Places areas of these bytes behind one another, each at a multiple of 16, and makes memory reach behind them. */
function layout<K extends string>(kernel: Exports, sizes: Record<K, number>): Record<K, number> {
  const places: Partial<Record<K, number>> = {};
  let next = (kernel.__heap_base.value + 15) & ~15;
  for (const name of Object.keys(sizes) as K[]) {
    places[name] = next;
    next += Math.ceil(sizes[name] / 16) * 16;
  }
  const missing = Math.ceil((next - kernel.memory.buffer.byteLength) / PAGE);
  try {
    if (missing > 0) kernel.memory.grow(missing);
  } catch {
    throw noMemory(next);
  }
  return places as Record<K, number>;
}

/** The upper triangle, with a 0 behind each row. */
function place(kernel: Exports, g: Float64Array, n: number, a: number, stride: number): void {
  const rows = f64(kernel, a, n * stride);
  for (let i = 0; i < n; i++) {
    rows.set(g.subarray(i * n + i, (i + 1) * n), i * stride + i);
    rows.fill(0, i * stride + n, (i + 1) * stride);
  }
}

function f64(kernel: Exports, at: number, length: number): Float64Array {
  return new Float64Array(kernel.memory.buffer, at, length);
}

function check(verdict: (typeof VERDICTS)[number], kernel: Exports, n: number): void {
  if (verdict === 'no memory') throw noMemory(kernel.memory.buffer.byteLength);
  if (verdict === 'done') return;
  const message = `The eigenvalues of a matrix of order ${n} do not converge. With a LAPACK library another method is used: ${lapackInstallation()}.`;
  throw new ComputeError('RUNTIME_FAILED', message, { n });
}

function noMemory(bytes: number): ComputeError {
  const message = `The eigenproblem needs more than ${bytes} bytes of memory, which this machine does not give. Free memory or use fewer workers.`;
  return new ComputeError('RUNTIME_FAILED', message, { bytes });
}
