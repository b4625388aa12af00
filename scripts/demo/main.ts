/**
 * `npm run demo [-- --json] [-- --runs N]`: four nodes on loopback grow one model out of eight real fine-tunes; one
 * joins late, the one that everyone joined through is killed in the middle of a fold; a fifth home pulls, verifies and
 * evaluates the result, beside what the paper's form of compression comes to.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { evaluateAll } from './evaluate.ts';
import { encodeAll, mergeAlike } from './forms.ts';
import { growModel } from './network.ts';
import { Cast } from './node.ts';
import { type DemoReport, renderReport, renderRuns } from './report.ts';
import { makeTasks } from './vision8.ts';

const { values } = parseArgs({
  options: {
    json: { type: 'boolean', default: false },
    /** How often the whole story is told, each time in another order. */
    runs: { type: 'string', default: '1' },
    /** Keeps the working directory and names it. */
    keep: { type: 'boolean', default: false },
  },
});

const runs = Number(values.runs);
if (!Number.isInteger(runs) || runs < 1) throw new Error('--runs wants a whole number from 1');
const reports: DemoReport[] = [];
for (let run = 0; run < runs; run++) {
  const report = await tellStory();
  reports.push(report);
  if (!values.json) process.stdout.write(`\n${renderReport(report)}\n`);
  if (new Set(report.recipes).size !== 1) process.exitCode = 1;
}
if (values.json) process.stdout.write(`${JSON.stringify(runs === 1 ? reports[0] : { runs: reports })}\n`);
else if (runs > 1) process.stdout.write(`\n${renderRuns(reports)}\n`);

async function tellStory(): Promise<DemoReport> {
  const started = performance.now();
  const seconds = () => (performance.now() - started) / 1000;
  const say = (line: string) => process.stderr.write(`${seconds().toFixed(1).padStart(6)} s  ${line}\n`);
  const work = await mkdtemp(join(tmpdir(), 'kinmerge-demo-'));
  const cast = new Cast({ work });
  const stop = () => {
    cast.killAll();
    process.exit(130);
  };
  process.on('SIGINT', stop);
  process.on('SIGTERM', stop);
  try {
    const tasks = await makeTasks(work);
    const grown = await growModel({ cast, tasks, work, say });
    say("compressing the same fine-tunes offline, also in the paper's form, and merging those in the same order");
    const updates = await encodeAll(cast, 'default');
    const paper = await encodeAll(cast, 'paper');
    const paperMerged = await mergeAlike(cast, paper, grown, tasks.linear);
    say('evaluating the base, the experts, their updates and the merged models on the test sets');
    const models = { merged: grown.merged, updates, paper: { merged: paperMerged, updates: paper } };
    const { accuracy, average } = await evaluateAll({ cast, ...models });
    return {
      recipes: grown.recipes,
      accuracy,
      average,
      bytes: { ...grown.bytes, paper: paper.payloads },
      verified: grown.verified,
      seconds: seconds(),
    };
  } finally {
    process.off('SIGINT', stop);
    process.off('SIGTERM', stop);
    cast.killAll();
    if (values.keep) say(`kept ${work}`);
    else await rm(work, { recursive: true, force: true });
  }
}
