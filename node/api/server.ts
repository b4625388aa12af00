import { randomBytes, timingSafeEqual } from 'node:crypto';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createAdaptorServer } from '@hono/node-server';
import { type Context, Hono } from 'hono';
import { bodyLimit } from 'hono/body-limit';
import { stream } from 'hono/streaming';
import { z } from 'zod';
import { writeFileDurably } from '../../src/durable.ts';
import { KinmergeError } from '../../src/errors.ts';
import { POLICY_SHAPE } from '../../src/kinship/index.ts';
import type { Progress } from '../../src/run-options.ts';
import { NodeError } from '../errors.ts';
import { KEY_FILE_MODE } from '../home/keys.ts';
import type { ChangesDocument } from '../service/describe-record.ts';
import type { NodeService } from '../service/service.ts';

/** Largest request body, in bytes: requests are paths and short texts. */
export const MAX_API_BODY_BYTES = 64 * 1024;
/** Length of the token in bytes; it is all that stands between local users and the node. */
const TOKEN_BYTES = 32;

/** What `api.json` holds: where the daemon listens and the token that opens it. */
export const apiFileSchema = z.strictObject({ port: z.number().int(), token: z.string(), pid: z.number().int() });

const contributeSchema = z.strictObject({
  finetune: z.string(),
  choice: z
    .strictObject({
      density: z.union([z.number(), z.literal('auto')]).optional(),
      mode: z.enum(['global', 'tensor']).optional(),
      scaleUnit: z.enum(['deviation', 'magnitude']).optional(),
      scaleFactor: z.number().optional(),
    })
    .optional(),
  evaluation: z
    .strictObject({
      graph: z.string(),
      tests: z.array(z.strictObject({ task: z.string(), path: z.string() })),
      heads: z.string().optional(),
      dataInput: z.string().optional(),
      labels: z.string().optional(),
      output: z.string().optional(),
      batch: z.number().optional(),
    })
    .optional(),
  align: z
    .strictObject({
      missing: z.enum(['error', 'unchanged']).optional(),
      extra: z.enum(['error', 'ignore']).optional(),
      reshaped: z.enum(['error', 'unchanged']).optional(),
    })
    .optional(),
  title: z.string().optional(),
  license: z.string().optional(),
  note: z.string().optional(),
  force: z.boolean().optional(),
  dryRun: z.boolean().optional(),
});

const revokeSchema = z.strictObject({ update: z.string(), note: z.string().optional() });
const keysSchema = z.array(z.string());
const changesSchema = z.strictObject({
  membership: z.strictObject({ open: z.boolean(), add: keysSchema, remove: keysSchema }).optional(),
  budgets: z.strictObject({ updates: z.number(), bytes: z.number() }).optional(),
  admission: POLICY_SHAPE.optional(),
  sealers: z.strictObject({ keys: keysSchema, threshold: z.number() }).optional(),
}) as z.ZodType<ChangesDocument>;
const amendSchema = z.strictObject({ changes: changesSchema, note: z.string().optional() });

const pullSchema = z.strictObject({
  out: z.string(),
  recipe: z.string().optional(),
  tail: z.boolean().optional(),
  without: z.string().optional(),
});

export interface ControlApi {
  readonly port: number;
  close(): Promise<void>;
}

/** Lines of a streamed answer. */
export type StreamLine =
  | { readonly progress: Progress }
  | { readonly result: unknown }
  | { readonly error: { readonly code: string; readonly message: string; readonly fields: unknown } };

/**
 * Serves the control API on loopback and writes its address and token to `apiFile` (mode 0600). Every request needs
 * the token, so a web page that reaches the port learns nothing.
 */
export async function startControlApi(
  options: { apiFile: string },
  components: { service: NodeService; stop: () => void },
): Promise<ControlApi> {
  const token = randomBytes(TOKEN_BYTES).toString('hex');
  const server = createAdaptorServer({ fetch: routes(token, components).fetch }) as Server;
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', resolve);
  });
  const { port } = server.address() as AddressInfo;
  await writeFileDurably(
    options.apiFile,
    Buffer.from(JSON.stringify({ port, token, pid: process.pid })),
    KEY_FILE_MODE,
  );
  return {
    port,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

function routes(token: string, { service, stop }: { service: NodeService; stop: () => void }): Hono {
  const app = new Hono();
  const expected = Buffer.from(`Bearer ${token}`);
  app.use('*', async (context, next) => {
    const given = Buffer.from(context.req.header('authorization') ?? '');
    if (given.length !== expected.length || !timingSafeEqual(given, expected)) {
      const error = new NodeError('API_UNAUTHORIZED', "the control API wants the token from the home's api.json");
      return context.json({ error: wireError(error) }, 401);
    }
    await next();
  });
  app.use(
    '*',
    bodyLimit({
      maxSize: MAX_API_BODY_BYTES,
      onError: (context) => {
        const message = `a request has at most ${MAX_API_BODY_BYTES} bytes`;
        const error = new NodeError('API_BAD_REQUEST', message, { max: MAX_API_BODY_BYTES });
        return context.json({ error: wireError(error) }, 413);
      },
    }),
  );
  app.notFound((context) => {
    const error = new NodeError('API_BAD_REQUEST', `there is no ${context.req.method} ${context.req.path}`);
    return context.json({ error: wireError(error) }, 404);
  });
  app.onError((error, context) => {
    const status = error instanceof KinmergeError ? (error.code === 'API_BAD_REQUEST' ? 400 : 422) : 500;
    return context.json({ error: wireError(error) }, status);
  });
  app.get('/v1/status', async (context) => context.json(await service.status()));
  app.get('/v1/peers', async (context) => context.json(await service.peers()));
  app.get('/v1/log', async (context) => context.json(await service.log()));
  app.get('/v1/updates/:id', async (context) => context.json(await service.show(context.req.param('id'))));
  app.get('/v1/updates/:id/why', async (context) => context.json(await service.why(context.req.param('id'))));
  app.post('/v1/contribute', async (context) => {
    const request = await body(context, contributeSchema);
    return answerWithProgress(context, (options) => service.contribute(request, options));
  });
  app.post('/v1/pull', async (context) => {
    const request = await body(context, pullSchema);
    return answerWithProgress(context, (options) => service.pull(request, options));
  });
  // Streamed: which amendments are in effect is known once admission has caught up, however long that takes.
  app.get('/v1/rules', (context) => answerWithProgress(context, () => service.rules()));
  app.post('/v1/amend', async (context) => {
    const request = await body(context, amendSchema);
    return answerWithProgress(context, () => service.amend(request));
  });
  app.post('/v1/dry-run', async (context) => {
    const changes = await body(context, changesSchema);
    return answerWithProgress(context, (options) => service.dryRun(changes, options));
  });
  app.post('/v1/revoke', async (context) => {
    const request = await body(context, revokeSchema);
    return answerWithProgress(context, () => service.revoke(request));
  });
  app.post('/v1/seal', (context) => answerWithProgress(context, (options) => service.seal(options)));
  app.get('/v1/events', (context) => {
    const controller = new AbortController();
    // Before the stream begins: a refusal is then an answer of its own.
    const events = service.events(controller.signal);
    return stream(context, async (body) => {
      body.onAbort(() => controller.abort());
      for await (const event of events) await body.write(`${JSON.stringify(event)}\n`);
    });
  });
  app.post('/v1/stop', (context) => {
    setImmediate(stop);
    return context.json({ stopping: true });
  });
  return app;
}

async function body<T>(context: Context, schema: z.ZodType<T>): Promise<T> {
  const parsed = schema.safeParse(await context.req.json().catch(() => undefined));
  if (!parsed.success) throw new NodeError('API_BAD_REQUEST', parsed.error.message);
  return parsed.data;
}

/** Streams progress lines while the work goes on, then one line with its result or error. */
function answerWithProgress(
  context: Context,
  work: (options: { signal: AbortSignal; onProgress: (progress: Progress) => void }) => Promise<unknown>,
) {
  return stream(context, async (body) => {
    const controller = new AbortController();
    body.onAbort(() => controller.abort());
    const send = (line: StreamLine) => body.write(`${JSON.stringify(line)}\n`);
    try {
      const onProgress = (progress: Progress) => {
        void send({ progress });
      };
      await send({ result: await work({ signal: controller.signal, onProgress }) });
    } catch (error) {
      await send({ error: wireError(error) });
    }
  });
}

function wireError(error: unknown) {
  if (error instanceof KinmergeError) return { code: error.code, message: error.message, fields: error.fields };
  return { code: 'UNEXPECTED', message: error instanceof Error ? error.message : String(error), fields: {} };
}
