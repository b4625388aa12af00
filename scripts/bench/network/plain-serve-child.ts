/** A process that sends every update of a home to whoever opens a stream, until it is told to stop. */
import { readFile } from 'node:fs/promises';
import { encodeSigned, payloadOf } from '../../../src/log/index.ts';
import { Holder } from './holder.ts';
import { PLAIN_PROTOCOL, plainHost, sendUpdate } from './plain.ts';
import type { Serving } from './serve-child.ts';

const { home } = JSON.parse(process.argv[2]!) as { home: string };
const { book } = await Holder.open(home);
const host = await plainHost(['/ip4/127.0.0.1/tcp/0']);
await host.handle(PLAIN_PROTOCOL, async (stream) => {
  for (const signed of book.log.held()) {
    await sendUpdate(stream, encodeSigned(signed), await readFile(book.payloads.blobs.path(payloadOf(signed.record)!)));
  }
  await stream.close();
});
const ready: Serving = { address: host.getMultiaddrs()[0]!.toString() };
process.stdout.write(`${JSON.stringify(ready)}\n`);
process.once('SIGTERM', () => process.exit());
