/** The part of WebAssembly that the codec's kernel uses: the types of Node leave it to the browser's library. */
declare namespace WebAssembly {
  class Module {
    constructor(bytes: Uint8Array);
  }
  class Instance {
    constructor(module: Module);
    readonly exports: Record<string, unknown>;
  }
  interface Memory {
    readonly buffer: ArrayBuffer;
    grow(pages: number): number;
  }
  interface Global<T extends 'i32'> {
    readonly value: T extends 'i32' ? number : never;
  }
}
