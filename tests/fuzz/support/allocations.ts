/**
 * Counts what code asks for: bytes of array buffers and of WebAssembly memories, by standing in front of everything that
 * makes one. Importing this file replaces the constructors in this process; what they make is what it always was.
 *
 * Not a sample of the process's memory, which misses what was collected in between and has noise of its own: the count
 * depends on the work alone, so it can be compared with a bound without tolerance. It is the sum of all requests, which
 * is at least what was ever held at once. Memory of JavaScript objects is not in it: heap.test.ts.
 */

let counted = 0;

/** The bytes that the work asked for, beside its result. One piece of work at a time. */
export async function counting<T>(work: () => Promise<T> | T): Promise<{ readonly result: T; readonly bytes: number }> {
  const before = counted;
  const result = await work();
  return { result, bytes: counted - before };
}

const VIEWS = [
  Int8Array,
  Uint8Array,
  Int16Array,
  Uint16Array,
  Int32Array,
  Uint32Array,
  Float32Array,
  Float64Array,
  BigUint64Array,
] as const;

for (const view of VIEWS) {
  standInFor(view.name, view, ([first]) => {
    if (typeof first === 'number') return view.BYTES_PER_ELEMENT * first;
    // A view of memory that is there, or a copy of a list.
    if (first instanceof ArrayBuffer || first instanceof SharedArrayBuffer) return 0;
    return first === undefined ? 0 : view.BYTES_PER_ELEMENT * ((first as ArrayLike<unknown>).length ?? 0);
  });
}
for (const buffer of [ArrayBuffer, SharedArrayBuffer]) standInFor(buffer.name, buffer, ([length]) => Number(length));

function standInFor(name: string, original: unknown, size: (args: unknown[]) => number): void {
  const standIn: object = new Proxy(original as new (...args: unknown[]) => object, {
    construct(target, args, newTarget) {
      counted += size(args);
      return Reflect.construct(target, args, newTarget === standIn ? target : newTarget);
    },
  });
  Reflect.set(globalThis, name, standIn);
}

/** Copies are made by the original constructors. */
const typedArray = Object.getPrototypeOf(VIEWS[0].prototype);
for (const [prototype, method] of [
  ...['slice', 'map', 'filter', 'toSorted', 'toReversed', 'with'].map((name) => [typedArray, name] as const),
  ...['slice', 'transfer', 'transferToFixedLength'].map((name) => [ArrayBuffer.prototype, name] as const),
]) {
  countCall(prototype, method, (result) => (result as { byteLength: number }).byteLength);
}
for (const method of ['alloc', 'allocUnsafe', 'allocUnsafeSlow', 'concat']) {
  countCall(Buffer, method, (result) => (result as Buffer).byteLength);
}
countCall(Buffer, 'from', (result, [source]) =>
  source instanceof ArrayBuffer || source instanceof SharedArrayBuffer ? 0 : (result as Buffer).byteLength,
);
const WasmMemory: { readonly prototype: object } = Reflect.get(WebAssembly, 'Memory');
countCall(WasmMemory.prototype, 'grow', (_, [pages]) => 65_536 * (pages as number));
// Also the memory that an instance begins with.
WebAssembly.Instance = new Proxy(WebAssembly.Instance, {
  construct(target, args) {
    const instance: WebAssembly.Instance = Reflect.construct(target, args);
    counted += (instance.exports.memory as { buffer: ArrayBuffer } | undefined)?.buffer.byteLength ?? 0;
    return instance;
  },
});

function countCall(owner: object, method: string, size: (result: unknown, args: unknown[]) => number): void {
  const original: (...args: unknown[]) => unknown = Reflect.get(owner, method);
  Reflect.set(owner, method, function (this: unknown, ...args: unknown[]): unknown {
    const result = original.apply(this, args);
    counted += size(result, args);
    return result;
  });
}
