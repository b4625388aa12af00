import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { CheckpointShelf, MAX_SHELVED } from '../../../node/core/checkpoint-shelf.ts';
import { testId } from '../log/helpers.ts';
import { scratch } from './support.ts';

test('the checkpoint of a needed recipe is offered however many come after it; of the others the newest are', async () => {
  const directory = await scratch();
  const shelf = new CheckpointShelf();
  const sealed = testId(0).toString();
  const recipes = Array.from({ length: 3 * MAX_SHELVED }, (_, i) => testId(i).toString());
  for (const recipe of recipes) {
    const path = join(directory, recipe);
    await mkdir(path);
    await writeFile(join(path, 'model.safetensors'), recipe);
    const document = await shelf.put({ recipe, path }, new Set([sealed, recipe]));
    expect(shelf.document(recipe)).toEqual(document);
  }
  const offered = recipes.filter((recipe) => shelf.document(recipe) !== undefined);
  expect(offered).toEqual([sealed, ...recipes.slice(1 - MAX_SHELVED)]);
  for (const recipe of offered) expect(shelf.object(shelf.document(recipe)!)).toBeDefined();
});
