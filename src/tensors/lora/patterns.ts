/** Values per module of `rank_pattern` and `alpha_pattern`: names, and the end of a name from one of its dots on. */

/** What PEFT would read as a regular expression. A dot is taken for itself: no expression is built from a file. */
const META = /[\\^$*+?()[\]{}|]/;

interface Entry {
  readonly order: number;
  readonly value: number;
}

export class ModulePatterns {
  readonly #ends = new Map<string, Entry>();
  readonly #whole = new Map<string, Entry>();
  #count = 0;

  /**
   * Adds a key of the file, in its order. A leading `^` (PEFT's way to mean the whole name only) and `\.` are
   * understood. False for any other expression, which is not added.
   */
  add(key: string, value: number): boolean {
    const whole = key.startsWith('^');
    const name = (whole ? key.slice(1) : key).replaceAll('\\.', '.');
    if (name === '' || META.test(name)) return false;
    const map = whole ? this.#whole : this.#ends;
    if (!map.has(name)) map.set(name, { order: this.#count, value });
    this.#count++;
    return true;
  }

  /** The value of the first key that matches, as PEFT takes it; undefined where none does. */
  get(module: string): number | undefined {
    let best = this.#whole.get(module);
    for (let at = 0; ; ) {
      const entry = this.#ends.get(module.slice(at));
      if (entry !== undefined && (best === undefined || entry.order < best.order)) best = entry;
      const dot = module.indexOf('.', at);
      if (dot < 0) return best?.value;
      at = dot + 1;
    }
  }
}
