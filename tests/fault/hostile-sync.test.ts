/** What a node does with peers whose sync is not what it should be, and with what they tell it. */
import { describe, expect, test } from 'vitest';
import { BACKOFF_FIRST_MS } from '../../node/net/peer-backoff.ts';
import { fixedSource, logSource, type Sync, sync } from '../../protocols/index.ts';
import { encodeSigned, generateKey, Log } from '../../src/log/index.ts';
import { eventually, keptLog, makePond, payloadOf, type Update, updateOf } from '../unit/node/support.ts';
import { settle, startNode, stranger, takesGoodUpdate } from './support.ts';

const entryOf = ({ signed }: Update) => ({ id: signed.id, bytes: encodeSigned(signed) });

describe('a peer that says it has records', () => {
  test('and does not give them is left alone for a while, and the node stays well', async () => {
    const pond = await makePond();
    const { logger, lines } = keptLog();
    const node = await startNode(pond, { logger });
    const lost = await updateOf(pond, generateKey(), payloadOf(pond, 1));
    const source = fixedSource(pond.charterId, [entryOf(lost)]);
    let asked = 0;
    const peer = await stranger<{ sync: Sync }>(pond, node, {
      sync: sync({
        source: {
          ...source,
          entry: () => {
            asked++;
            return undefined;
          },
        },
      }),
    });
    await eventually(() =>
      expect(lines).toContainEqual(
        expect.objectContaining({ peer: peer.host.peerId.toString(), withheld: 1, waitMs: BACKOFF_FIRST_MS }),
      ),
    );
    // Records whose parents the node never saw would make it ask their sender at once.
    for (let i = 0; i < 3; i++) {
      const orphan = await updateOf(pond, generateKey(), payloadOf(pond, 10 + i), { parents: [lost.signed] });
      await peer.announce(orphan, null);
      await settle(BACKOFF_FIRST_MS / 10);
    }
    expect(asked).toBe(1);
    await takesGoodUpdate(pond, node);
  });

  test('that the node lacks is asked for these by name', async () => {
    const pond = await makePond();
    const node = await startNode(pond);
    const first = await updateOf(pond, generateKey(), payloadOf(pond, 1));
    const second = await updateOf(pond, generateKey(), payloadOf(pond, 2));
    const log = new Log({ charter: pond.charter, charterId: pond.charterId });
    const keep = ({ signed, payload }: Update) => {
      log.addRecord(signed);
      log.setPayload(signed.record.payload, payload.length);
    };
    keep(first);
    const source = logSource({ log, charter: pond.charterId, head: () => null });
    const peer = await stranger<{ sync: Sync }>(pond, node, { sync: sync({ source }) });
    await eventually(() => expect(node.community.book.log.state(first.signed.id)).toBe('pending'));
    keep(second);
    const told = await peer.host.services.sync.pull(
      peer.host.getPeers().find((id) => id.toString() === node.network.peerId)!,
      () => {},
    );
    expect(told).toMatchObject({ lacking: 2 });
    // Long before the timer would.
    await eventually(() => expect(node.community.book.log.state(second.signed.id)).toBe('pending'), 3_000);
  });
});
