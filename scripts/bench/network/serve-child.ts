/** A process that serves a home as a node does, until it is told to stop. */
import { Holder } from './holder.ts';

export interface Serving {
  readonly address: string;
}

const { home } = JSON.parse(process.argv[2]!) as { home: string };
const holder = await Holder.open(home);
const [address] = await holder.connect([]);
const ready: Serving = { address: address! };
process.stdout.write(`${JSON.stringify(ready)}\n`);
process.once('SIGTERM', () => void holder.close().then(() => process.exit()));
