import type { Metrics, Stream } from '@libp2p/interface';

const nothing = () => {};
const metric = {
  update: nothing,
  increment: nothing,
  decrement: nothing,
  reset: nothing,
  timer: () => nothing,
  observe: nothing,
};
const register = () => metric;

/** Counts what nodes send on their streams, by protocol: the same one may watch many nodes. */
export class Traffic implements Metrics {
  readonly #sent = new Map<string, number>();

  /** Bytes since the start by protocol, without what encryption, multiplexing and negotiation add. */
  sent(): ReadonlyMap<string, number> {
    return new Map(this.#sent);
  }

  trackProtocolStream(stream: Stream): void {
    const send = stream.send.bind(stream);
    stream.send = (data) => {
      this.#sent.set(stream.protocol, (this.#sent.get(stream.protocol) ?? 0) + data.byteLength);
      return send(data);
    };
  }

  trackMultiaddrConnection(): void {}
  createTrace(): undefined {}
  traceFunction = <F>(_name: string, traced: F): F => traced;
  registerMetric = register as unknown as Metrics['registerMetric'];
  registerMetricGroup = register as unknown as Metrics['registerMetricGroup'];
  registerCounter = register as unknown as Metrics['registerCounter'];
  registerCounterGroup = register as unknown as Metrics['registerCounterGroup'];
  registerHistogram = register as unknown as Metrics['registerHistogram'];
  registerHistogramGroup = register as unknown as Metrics['registerHistogramGroup'];
  registerSummary = register as unknown as Metrics['registerSummary'];
  registerSummaryGroup = register as unknown as Metrics['registerSummaryGroup'];
}
