import { createReadStream } from 'node:fs';
import { readFile, rm } from 'node:fs/promises';
import { basename, join } from 'node:path';
import type { CID } from 'multiformats/cid';
import { MAX_INLINE_PAYLOAD_BYTES } from '../../protocols/index.ts';
import type { Decision } from '../../src/kinship/index.ts';
import type { IdentifiedManifest, SignedUpdate } from '../../src/log/index.ts';
import { encodeSigned, isMemberBy, keyToText, manifestOf, signRecord } from '../../src/log/index.ts';
import type { RunOptions } from '../../src/run-options.ts';
import { NodeError } from '../errors.ts';
import type { ContributeDocument, ContributeRequest } from '../service/documents.ts';
import type { Community } from './community.ts';

/** A finished contribution, and what the network needs to send it. */
export interface Contribution {
  readonly document: ContributeDocument;
  /** `null` after a dry run. */
  readonly signed: SignedUpdate | null;
  /** The payload when it is small enough to travel inside the announcement. */
  readonly inline: Uint8Array | null;
}

/**
 * Compresses a fine-tune, runs admission on the own node, and only then signs the record and appends it to the own
 * log, durably. Nothing has been sent when it returns.
 *
 * @throws NodeError `DECLINED` (fields: gate, gates) unless `force`; `UPDATE_INVALID`; errors of the codec and files.
 *   Nothing is stored then.
 */
export function contribute(
  community: Community,
  request: ContributeRequest,
  run: RunOptions = {},
): Promise<Contribution> {
  const signal = run.signal === undefined ? community.stopping : AbortSignal.any([community.stopping, run.signal]);
  return community.contributions.run(() => contributeNext(community, request, { ...run, signal }));
}

async function contributeNext(
  community: Community,
  request: ContributeRequest,
  run: RunOptions,
): Promise<Contribution> {
  const { base, home } = community.options;
  if (base === null) {
    throw new NodeError('HOME_NOT_JOINED', 'this home only pulls: run `kinmerge join` with --base to contribute');
  }
  const { rules } = await community.settled();
  if (!isMemberBy(rules, community.author.publicKey)) {
    throw new NodeError(
      'UPDATE_INVALID',
      `the author key ${keyToText(community.author.publicKey)} is not a member of this community: ask its owner`,
      { reason: 'NOT_A_MEMBER' },
    );
  }
  // Said before the long work: nothing can be signed while the own chain has a gap.
  if (request.dryRun !== true) community.book.nextLink(community.author.publicKey);
  const file = join(home.tmp, `payload-${process.pid}-${performance.now()}`);
  try {
    const report = await community.encoder.call(
      'encode',
      {
        base,
        finetune: request.finetune,
        choice: request.choice ?? {},
        evaluation: request.evaluation,
        align: request.align,
        out: file,
      },
      run,
    );
    const manifest = await manifestOf(createReadStream(file, { highWaterMark: 1 << 20 }), run);
    await community.book.payloads.reserve(manifest, file);
    try {
      const decision = await preview(community, manifest.id, report.bytes, run);
      if (!decision.accepted && request.force !== true && request.dryRun !== true) throw declined(decision);
      const signed = request.dryRun === true ? null : await publish(community, request, manifest);
      const bytes = {
        record: signed === null ? 0 : encodeSigned(signed).length,
        payload: report.bytes,
        bound: report.entropyBoundBytes,
        fp16: report.fp16Bytes,
      };
      return {
        signed,
        inline:
          report.bytes <= MAX_INLINE_PAYLOAD_BYTES
            ? await readFile(community.book.payloads.blobs.path(manifest.id))
            : null,
        document: {
          update: signed?.id.toString() ?? null,
          payload: manifest.id.toString(),
          bytes,
          density: report.density,
          lowRank: report.tensors.filter(({ rank }) => rank !== undefined).length,
          settings: report.settings,
          choice: report.choice,
          notes: report.notes,
          verdict: decision.accepted ? 'accepted' : 'declined',
          gate: decision.gate,
          provisional: true,
          gates: decision.gates,
        },
      };
    } finally {
      await community.book.payloads.release(manifest.id);
    }
  } finally {
    await rm(file, { force: true });
  }
}

/** What the own node would decide: the record will name the heads as parents, so it stands at the end of the order. */
async function preview(community: Community, payload: CID, size: number, run: RunOptions): Promise<Decision> {
  const view = await community.settled();
  const { steps } = community.historian.stepsSoFar();
  const { author, book } = community;
  const mine = view.rules.budgets;
  const before = book.chainTotals(author.publicKey);
  const candidate = {
    id: 'candidate',
    cid: payload,
    payload,
    equivocation: false,
    member: isMemberBy(view.rules, author.publicKey),
    budget: { updates: before.updates + 1, bytes: before.bytes + size, most: mine },
  };
  return community.judge.preview(steps, candidate, run);
}

function publish(
  community: Community,
  request: ContributeRequest,
  manifest: IdentifiedManifest,
): Promise<SignedUpdate> {
  const { author, book, options } = community;
  return book.publish(author.publicKey, manifest, (link) =>
    signRecord(
      {
        version: 1,
        kind: 'update',
        author: author.publicKey,
        charter: options.charterId,
        ...link,
        payload: manifest.id,
        title: request.title ?? basename(request.finetune).replace(/\.safetensors$/, ''),
        license: request.license ?? '',
        note: request.note ?? '',
      },
      author,
    ),
  );
}

function declined(decision: Decision): NodeError {
  return new NodeError(
    'DECLINED',
    `the own node would decline this update (${decision.gate}): nothing was signed or sent; --force publishes it all the same`,
    { gate: decision.gate, gates: decision.gates },
  );
}
