/** The serving side of a device's process: one call at a time, on the process's only thread. */
import { setImmediate } from 'node:timers/promises';
import { Buffers } from '../buffers.ts';
import { failureOf } from '../failures.ts';
import type { Pace } from '../pace.ts';
import type { FromDevice, ToDevice } from './device-messages.ts';
import { headOfParcel, IncomingParcel, type Parcel, piecesOf } from './parcels.ts';
import { ProviderDevice } from './provider-device.ts';
import type { Provider } from './provider-sessions.ts';

export interface DeviceContext {
  readonly provider: Provider;
  readonly device: ProviderDevice;
  readonly buffers: Buffers;
  readonly pace: Pace;
}

export type DeviceTask = (parcel: Parcel, context: DeviceContext) => Promise<Parcel>;

class Cancelled extends Error {}

/** Answers calls until the process that asks is gone or lets go. */
export function serveDevice(provider: Provider, tasks: Readonly<Record<string, DeviceTask>>): void {
  const device = new ProviderDevice({ provider });
  const buffers = new Buffers();
  let incoming: { readonly task: string; readonly parcel: IncomingParcel } | null = null;
  let current = 0;
  let cancelled = 0;

  const pace: Pace = {
    async pause() {
      // Lets the messages in that came during the slice.
      await setImmediate();
      if (cancelled === current) throw new Cancelled();
    },
    interruptible: (work) => work(),
  };

  const serve = async (id: number, task: string, parcel: Parcel): Promise<void> => {
    try {
      await pace.pause();
      const work = tasks[task];
      if (work === undefined) throw new Error(`There is no task '${task}'.`);
      const result = await work(parcel, { provider, device, buffers, pace });
      await send({ kind: 'done', id, ...headOfParcel(result) });
      for (const piece of piecesOf(result, id)) await send(piece);
    } catch (error) {
      device.releaseAll();
      buffers.reset();
      await send(error instanceof Cancelled ? { kind: 'cancelled', id } : { kind: 'failed', id, ...failureOf(error) });
    }
  };

  process.on('message', (message: ToDevice) => {
    if (message.kind === 'cancel') {
      cancelled = message.id;
      // Its pieces stopped coming.
      if (incoming !== null) void send({ kind: 'cancelled', id: message.id });
      incoming = null;
      return;
    }
    if (message.kind === 'call') {
      current = message.id;
      incoming = { task: message.task, parcel: new IncomingParcel(message) };
    } else if (message.id === current) {
      incoming?.parcel.add(message);
    }
    const parcel = incoming?.parcel.whole ?? null;
    if (incoming === null || parcel === null) return;
    const { task } = incoming;
    incoming = null;
    void serve(current, task, parcel);
  });
  process.on('disconnect', () => process.exit(0));
}

function send(message: FromDevice): Promise<void> {
  // A channel that closed ends the process anyway.
  return new Promise((resolve) => process.send?.(message, undefined, {}, () => resolve()));
}
