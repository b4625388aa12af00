import { AsyncLocalStorage } from 'node:async_hooks';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import type { Socket } from 'node:net';

/**
 * Who dialled, among several nodes of one process: a proxy sees only the port that a connection comes from. Whatever a
 * node does, it does in the asynchronous context in which it was started.
 */
export class Diallers<T> {
  readonly #running = new AsyncLocalStorage<T>();
  readonly #ports = new Map<number, T>();
  readonly #onSocket = (message: unknown) => {
    const who = this.#running.getStore();
    const { socket } = message as { socket: Socket };
    if (who !== undefined) socket.once('connect', () => this.#ports.set(socket.localPort!, who));
  };

  constructor() {
    subscribe('net.client.socket', this.#onSocket);
  }

  /** Everything that is started by `work` dials as `who`. */
  as<R>(who: T, work: () => R): R {
    return this.#running.run(who, work);
  }

  /** Who dials from a port of this machine. @throws when none of the nodes does: the proxy was used by something else */
  at(port: number): T {
    const who = this.#ports.get(port);
    if (who === undefined) throw new Error(`nobody who is known dialled from port ${port}`);
    return who;
  }

  close(): void {
    unsubscribe('net.client.socket', this.#onSocket);
  }
}
