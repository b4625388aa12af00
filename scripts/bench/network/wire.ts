/** Counting what goes over a connection: bytes of its streams by protocol, and of TCP below them. */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import type { Libp2p } from '@libp2p/interface';

/** Bytes of all streams of a protocol at one host, both directions; those of negotiating the protocol are not among them. */
export class StreamBytes {
  bytes = 0;

  constructor(host: Libp2p, protocol: string) {
    host.use(protocol, (stream, connection, next) => {
      const send = stream.send.bind(stream);
      stream.send = (data) => {
        this.bytes += data.byteLength;
        return send(data);
      };
      stream.addEventListener('message', ({ data }) => {
        this.bytes += data.byteLength;
      });
      next(stream, connection);
    });
  }

  /** What came since the last call. */
  take(): number {
    const { bytes } = this;
    this.bytes = 0;
    return bytes;
  }
}

/** A relay between a client and one TCP port of this machine that counts the bytes of both directions. */
export class CountingRelay {
  readonly #sockets = new Set<Socket>();
  readonly #server;
  bytes = 0;

  private constructor(port: number) {
    this.#server = createServer((client) => {
      const target = connect(port, '127.0.0.1');
      for (const [from, to] of [
        [client, target],
        [target, client],
      ] as const) {
        this.#sockets.add(from);
        from.setNoDelay(true);
        from.on('data', (chunk) => {
          this.bytes += chunk.length;
        });
        from.on('error', () => to.destroy());
        from.on('close', () => this.#sockets.delete(from));
        from.pipe(to);
      }
    });
  }

  static async open(port: number): Promise<CountingRelay> {
    const relay = new CountingRelay(port);
    relay.#server.listen(0, '127.0.0.1');
    await once(relay.#server, 'listening');
    return relay;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  take(): number {
    const { bytes } = this;
    this.bytes = 0;
    return bytes;
  }

  close(): void {
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
  }
}
