import { readFile } from 'node:fs/promises';
import type { z } from 'zod';
import { KinmergeError } from '../../src/errors.ts';
import type { RunOptions } from '../../src/run-options.ts';
import type { Pulled, PullOptions } from '../checkpoint/pull.ts';
import { NodeError } from '../errors.ts';
import type {
  AmendmentDocument,
  AmendRequest,
  ContributeDocument,
  ContributeRequest,
  DryRunDocument,
  NodeEvent,
  PeerDocument,
  RevokeDocument,
  RevokeRequest,
  RulesDocument,
  SealDocument,
  StatusDocument,
  UpdateDocument,
  WhyDocument,
} from '../service/documents.ts';
import type { NodeService } from '../service/service.ts';
import type { StreamLine } from './server.ts';
import { apiFileSchema } from './server.ts';

/** A plain question is answered at once or not at all, in milliseconds; streamed answers have no such limit. */
export const API_TIMEOUT_MS = 10_000;

/** A running daemon, spoken to through its control API. */
export class ApiClient implements NodeService {
  readonly #base: string;
  readonly #token: string;
  readonly #signal: AbortSignal | undefined;

  constructor(options: { port: number; token: string; signal?: AbortSignal }) {
    this.#base = `http://127.0.0.1:${options.port}/v1`;
    this.#token = options.token;
    this.#signal = options.signal;
  }

  status = () => this.#get<StatusDocument>('/status');
  peers = () => this.#get<readonly PeerDocument[]>('/peers');
  log = () => this.#get<readonly UpdateDocument[]>('/log');
  show = (id: string) => this.#get<UpdateDocument>(`/updates/${encodeURIComponent(id)}`);
  why = (id: string) => this.#get<WhyDocument>(`/updates/${encodeURIComponent(id)}/why`);

  contribute = (request: ContributeRequest, options: RunOptions = {}) =>
    this.#posted<ContributeDocument>('/contribute', request, options);

  rules = () => this.#streamed<RulesDocument>('/rules', {}, {});

  amend = (request: AmendRequest) => this.#posted<AmendmentDocument>('/amend', request);

  dryRun = (changes: AmendRequest['changes'], options: RunOptions = {}) =>
    this.#posted<DryRunDocument>('/dry-run', changes, options);

  revoke = (request: RevokeRequest) => this.#posted<RevokeDocument>('/revoke', request);

  seal = (options: RunOptions = {}) => this.#posted<SealDocument | null>('/seal', {}, options);

  pull = (request: PullOptions, options: RunOptions = {}) => this.#posted<Pulled>('/pull', request, options);

  async stop(): Promise<void> {
    await this.#request('/stop', { method: 'POST' }, AbortSignal.timeout(API_TIMEOUT_MS));
  }

  async *events(signal: AbortSignal): AsyncGenerator<NodeEvent> {
    const response = await this.#request('/events', {}, signal);
    for await (const line of lines(response, signal)) yield JSON.parse(line) as NodeEvent;
  }

  async #get<T>(path: string): Promise<T> {
    const signal = this.#combined(AbortSignal.timeout(API_TIMEOUT_MS));
    const response = await this.#request(path, {}, signal);
    try {
      return (await response.json()) as T;
    } catch (error) {
      // A timeout is no interruption: the daemon does not answer.
      throw cutOff(error, this.#signal);
    }
  }

  #posted<T>(path: string, request: unknown, options: RunOptions = {}): Promise<T> {
    return this.#streamed<T>(path, { method: 'POST', body: JSON.stringify(request) }, options);
  }

  async #streamed<T>(path: string, init: RequestInit, options: RunOptions): Promise<T> {
    const signal = this.#combined(options.signal);
    const response = await this.#request(path, init, signal);
    for await (const text of lines(response, signal)) {
      const line = JSON.parse(text) as StreamLine;
      if ('progress' in line) options.onProgress?.(line.progress);
      else if ('result' in line) return line.result as T;
      else throw fromWire(line.error);
    }
    throw cutOff(undefined, signal);
  }

  async #request(path: string, init: RequestInit, signal: AbortSignal | undefined): Promise<Response> {
    let response: Response;
    const headers = { authorization: `Bearer ${this.#token}`, 'content-type': 'application/json' };
    try {
      response = await fetch(this.#base + path, { ...init, headers, ...(signal && { signal }) });
    } catch (error) {
      this.#signal?.throwIfAborted();
      throw new NodeError(
        'DAEMON_UNREACHABLE',
        'the daemon does not answer: is it running?',
        { path },
        { cause: error },
      );
    }
    if (response.ok) return response;
    const body = (await response.json().catch(() => ({}))) as { error?: Parameters<typeof fromWire>[0] };
    throw body.error === undefined
      ? new NodeError('DAEMON_UNREACHABLE', `the daemon answered with status ${response.status}`, { path })
      : fromWire(body.error);
  }

  #combined(signal: AbortSignal | undefined): AbortSignal | undefined {
    const signals = [this.#signal, signal].filter((one) => one !== undefined);
    return signals.length === 0 ? undefined : AbortSignal.any(signals);
  }
}

/**
 * Connects to the daemon whose address and token `apiFile` holds.
 *
 * @param options.pid - only the API of this process will do: the file may be left from one that was killed
 * @returns undefined without such a file
 */
export async function connectApi(
  apiFile: string,
  options: { pid?: number; signal?: AbortSignal } = {},
): Promise<ApiClient | undefined> {
  let text: string;
  try {
    text = await readFile(apiFile, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
  let api: z.infer<typeof apiFileSchema>;
  try {
    api = apiFileSchema.parse(JSON.parse(text));
  } catch {
    // Not an API file: as good as none.
    return undefined;
  }
  const { port, token, pid } = api;
  if (options.pid !== undefined && options.pid !== pid) return undefined;
  const { signal } = options;
  return new ApiClient({ port, token, ...(signal && { signal }) });
}

async function* lines(response: Response, signal: AbortSignal | undefined): AsyncGenerator<string> {
  let rest = '';
  try {
    for await (const chunk of (response.body ?? new ReadableStream()).pipeThrough(new TextDecoderStream())) {
      rest += chunk;
      const parts = rest.split('\n');
      rest = parts.pop() ?? '';
      yield* parts.filter((part) => part !== '');
    }
  } catch (error) {
    throw cutOff(error, signal);
  }
}

/** What a caller learns when an answer breaks off: its own interruption, or that the daemon is gone. */
function cutOff(cause: unknown, signal: AbortSignal | undefined): unknown {
  if (signal?.aborted) return signal.reason;
  const message = 'the daemon stopped before it answered: look at its log, then try again';
  return new NodeError('DAEMON_UNREACHABLE', message, {}, { cause });
}

function fromWire(error: { code: string; message: string; fields?: unknown }): KinmergeError {
  return new KinmergeError(error.code, error.message, (error.fields ?? {}) as Record<string, unknown>);
}
