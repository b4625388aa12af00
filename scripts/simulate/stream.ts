import type { AbortOptions, Logger } from '@libp2p/interface';
import { AbstractStream } from '@libp2p/utils';
import type { TrafficKind } from './trace.ts';
import type { Wire } from './wire.ts';

/** Bytes of one frame of the stream multiplexer at most, and what its header costs. */
const MAX_FRAME_BYTES = 65_536;
const HEADER_BYTES = 12;
/** Bytes that may be under way on one stream: yamux begins with 256 KiB and grows. */
const WINDOW_BYTES = 2 ** 20;

let streams = 0;

export interface SimStreamInit {
  readonly wire: Wire;
  readonly end: 0 | 1;
  readonly protocol: string;
  readonly kind: TrafficKind;
  readonly log: Logger;
  /** Changes what is sent: for nodes that lie. */
  readonly tamper?: ((bytes: Uint8Array) => Uint8Array) | undefined;
}

/** A libp2p stream over a simulated connection: libp2p's own stream class, with frames, a window, and ordered delivery. */
export class SimStream extends AbstractStream {
  readonly #wire: Wire;
  readonly #end: 0 | 1;
  readonly #kind: TrafficKind;
  readonly #tamper: SimStreamInit['tamper'];
  readonly #forget: () => void;
  #other: SimStream | undefined;
  #underWay = 0;

  /** Both ends of a new stream, the first at the end that opened it. */
  static pair(init: Omit<SimStreamInit, 'end' | 'log'>, ends: { opened: StreamEnd; accepted: StreamEnd }) {
    const { opened, accepted } = ends;
    const one = new SimStream({ ...init, ...opened }, 'outbound');
    const two = new SimStream({ ...init, ...accepted }, 'inbound');
    one.#other = two;
    two.#other = one;
    return [one, two] as const;
  }

  private constructor(init: SimStreamInit, direction: 'inbound' | 'outbound') {
    const { log, protocol } = init;
    super({ id: String(streams++), direction, log, protocol, maxMessageSize: MAX_FRAME_BYTES });
    this.#wire = init.wire;
    this.#end = init.end;
    this.#kind = init.kind;
    this.#tamper = init.tamper;
    this.#forget = init.wire.onBreak((error) => this.onTransportClosed(error));
    this.addEventListener('close', this.#forget, { once: true });
  }

  override sendData(data: Parameters<AbstractStream['sendData']>[0]): { sentBytes: number; canSendMore: boolean } {
    const { byteLength } = data;
    const bytes = this.#tamper?.(data.slice()) ?? data.slice();
    this.#underWay += byteLength;
    this.#wire.send(this.#end, this.#kind, bytes.length + HEADER_BYTES, () => {
      this.#other!.onData(bytes);
      // The window opens again when the other end says so, which is no message of its own here.
      this.#other!.#tell(() => this.#arrived(byteLength));
    });
    return { sentBytes: byteLength, canSendMore: this.#underWay < WINDOW_BYTES };
  }

  override sendReset(): void {
    this.#tell(() => {
      if (this.#other!.status === 'open' || this.#other!.status === 'closing') this.#other!.onRemoteReset();
    });
  }

  override async sendCloseWrite(_options?: AbortOptions): Promise<void> {
    this.#tell(() => this.#other!.onRemoteCloseWrite());
  }

  override async sendCloseRead(_options?: AbortOptions): Promise<void> {}

  override sendPause(): void {}

  override sendResume(): void {}

  /** Frames without data travel, but are not counted. */
  #tell(arrived: () => void): void {
    this.#wire.send(this.#end, null, HEADER_BYTES, arrived);
  }

  #arrived(bytes: number): void {
    this.#underWay -= bytes;
    if (this.writableNeedsDrain && this.#underWay < WINDOW_BYTES) this.safeDispatchEvent('drain');
  }
}

export interface StreamEnd {
  readonly end: 0 | 1;
  readonly log: Logger;
  readonly tamper?: SimStreamInit['tamper'];
}
