/** Finds the tensors of a base that an adapter speaks of where the two differ by a prefix, such as `model.`. */

type Names = ReadonlyMap<string, unknown>;

/** How names of the adapter become names of the base: one prefix more, or one less. */
export interface Renaming {
  readonly strip: string;
  readonly add: string;
}

export const SAME_NAMES: Renaming = { strip: '', add: '' };

/** The base's name for one of the adapter's; names that the prefix does not lead to the base stay as they are. */
export function rename({ strip, add }: Renaming, name: string, base: Names): string {
  if (add !== '') return base.has(add + name) ? add + name : name;
  return name.startsWith(strip) ? name.slice(strip.length) : name;
}

/** The first of some names that the base has. */
export function findName(renaming: Renaming, names: readonly string[], base: Names): string | undefined {
  return names.map((name) => rename(renaming, name, base)).find((name) => base.has(name));
}

/**
 * The renamings under which every wanted tensor is in the base: none, one, or several that lead to different tensors.
 * Equal names are taken without a look for others.
 *
 * @param wanted - for each tensor the names that it may have
 */
export function findRenamings(wanted: readonly (readonly string[])[], base: Names): readonly Renaming[] {
  const stray = wanted.find((names) => findName(SAME_NAMES, names, base) === undefined);
  if (stray === undefined) return [SAME_NAMES];
  const found = new Map<string, Renaming>();
  for (const renaming of candidates(stray, base)) {
    const names = resolveAll(renaming, wanted, base);
    if (names === undefined) continue;
    const key = JSON.stringify(names);
    if (!found.has(key)) found.set(key, renaming);
  }
  return [...found.values()];
}

/** It ends at the first that is not there: a base has many names that end alike. */
function resolveAll(renaming: Renaming, wanted: readonly (readonly string[])[], base: Names): string[] | undefined {
  const found: string[] = [];
  for (const names of wanted) {
    const name = findName(renaming, names, base);
    if (name === undefined) return undefined;
    found.push(name);
  }
  return found;
}

/** Every renaming that leads one tensor into the base. */
function candidates(names: readonly string[], base: Names): Renaming[] {
  const list: Renaming[] = [];
  for (const name of names) {
    for (let dot = name.indexOf('.'); dot >= 0; dot = name.indexOf('.', dot + 1)) {
      if (base.has(name.slice(dot + 1))) list.push({ strip: name.slice(0, dot + 1), add: '' });
    }
    for (const other of base.keys()) {
      if (other.endsWith(`.${name}`)) list.push({ strip: '', add: other.slice(0, -name.length) });
    }
  }
  return list;
}
