interface Event {
  readonly at: number;
  /** What was put in first comes first, of those with one time. */
  readonly turn: number;
  readonly run: () => void;
}

/** Events in the order of their times: a binary heap. Most of a run's timers are messages on their way, never taken back. */
export class EventQueue {
  readonly #heap: Event[] = [];
  #turn = 0;

  get size(): number {
    return this.#heap.length;
  }

  /** When the next event is due; infinity without one. */
  get next(): number {
    return this.#heap[0]?.at ?? Number.POSITIVE_INFINITY;
  }

  put(at: number, run: () => void): void {
    const heap = this.#heap;
    const event: Event = { at, turn: this.#turn++, run };
    let place = heap.length;
    heap.push(event);
    while (place > 0) {
      const up = (place - 1) >>> 1;
      if (!isBefore(event, heap[up]!)) break;
      heap[place] = heap[up]!;
      place = up;
    }
    heap[place] = event;
  }

  /** Takes the next event out. */
  take(): (() => void) | undefined {
    const heap = this.#heap;
    const top = heap[0];
    const last = heap.pop();
    if (top === undefined || last === undefined || heap.length === 0) return top?.run;
    let place = 0;
    for (;;) {
      let down = 2 * place + 1;
      if (down >= heap.length) break;
      if (down + 1 < heap.length && isBefore(heap[down + 1]!, heap[down]!)) down++;
      if (!isBefore(heap[down]!, last)) break;
      heap[place] = heap[down]!;
      place = down;
    }
    heap[place] = last;
    return top.run;
  }
}

function isBefore(a: Event, b: Event): boolean {
  return a.at < b.at || (a.at === b.at && a.turn < b.turn);
}
