/** Reproducible random numbers: what a stream gives depends on its seed text alone. */

/** Chris Doty-Humphrey's small fast counting generator with 32-bit words (sfc32, PractRand), filled in blocks. */
export class RandomStream {
  #a: number;
  #b: number;
  #c: number;
  #counter = 1;

  constructor(seed: string) {
    this.#a = hash(`a ${seed}`);
    this.#b = hash(`b ${seed}`);
    this.#c = hash(`c ${seed}`);
    // The first words still show the seed.
    this.fill(new Uint32Array(16));
  }

  /** Fills `out` with uniform 32-bit words. */
  fill(out: Uint32Array): void {
    let [a, b, c, counter] = [this.#a, this.#b, this.#c, this.#counter];
    for (let i = 0; i < out.length; i++) {
      const word = (a + b + counter) | 0;
      counter = (counter + 1) | 0;
      a = b ^ (b >>> 9);
      b = (c + (c << 3)) | 0;
      c = (((c << 21) | (c >>> 11)) + word) | 0;
      out[i] = word;
    }
    [this.#a, this.#b, this.#c, this.#counter] = [a, b, c, counter];
  }

  /** Uniform in (0, 1), a multiple of 2^-33 that is neither end. */
  uniform(): number {
    const word = new Uint32Array(1);
    this.fill(word);
    return (word[0]! + 0.5) / 2 ** 32;
  }

  /** Standard normal, by the method of Box and Muller. */
  normal(): number {
    return Math.sqrt(-2 * Math.log(this.uniform())) * Math.cos(2 * Math.PI * this.uniform());
  }
}

/** FNV-1a over the UTF-16 units, 32 bits, with a final mix so that near texts give far words. */
function hash(text: string): number {
  let h = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193);
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  return h ^ (h >>> 13);
}
