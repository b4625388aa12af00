import { createHash } from 'node:crypto';

/** Numbers in [0, 1) that follow from the seed text alone: sfc32 (PractRand), seeded from a SHA-256. */
export function seededRandom(seed: string): () => number {
  const digest = createHash('sha256').update(seed).digest();
  let a = digest.readInt32LE(0);
  let b = digest.readInt32LE(4);
  let c = digest.readInt32LE(8);
  let counter = 1;
  return () => {
    const word = (a + b + counter) | 0;
    counter = (counter + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = (((c << 21) | (c >>> 11)) + word) | 0;
    return (word >>> 0) / 2 ** 32;
  };
}

/** 32 bytes that follow from the text alone. */
export function seededBytes(text: string): Uint8Array {
  return new Uint8Array(createHash('sha256').update(text).digest());
}

/** `count` different ones of the items, or all of them. */
export function sample<T>(items: readonly T[], count: number, random: () => number): T[] {
  const left = [...items];
  const drawn: T[] = [];
  while (drawn.length < count && left.length > 0) {
    drawn.push(left.splice(Math.floor(random() * left.length), 1)[0]!);
  }
  return drawn;
}

/** Waiting time of a Poisson process, in the unit of the mean. */
export function exponential(mean: number, random: () => number): number {
  return -mean * Math.log(1 - random());
}
