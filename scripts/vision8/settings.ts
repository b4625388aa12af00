/**
 * Which density, form and scale an update should have, on the eight experts of tests/fixtures/vision8. Prints the
 * tables of docs/vision8.md; with --json everything that was measured. Takes some minutes.
 */
import { parseArgs } from 'node:util';
import { defaultScaleFactor } from '../../src/choose/settings.ts';
import { type Findings, run, type Score } from './experiment.ts';
import { FORMS, UNITS } from './forms.ts';

const { values } = parseArgs({ options: { json: { type: 'boolean', default: false } } });
const findings = await run((what) => process.stderr.write(`${what}\n`));
console.log(values.json ? JSON.stringify(findings, null, 2) : tables(findings));

function tables({ experts, single, merge }: Findings): string {
  const lines = ['Uncompressed task vector by factor', list('val', experts.val), list('test', experts.test)];
  for (const form of FORMS) {
    for (const unit of UNITS) {
      lines.push('', `Single experts, ${form}, factors of the ${unit}`);
      for (const row of single.filter((row) => row.form === form && row.unit === unit)) {
        const { density, energy, val, test } = row;
        lines.push(`${percent(density)}  energy ${energy.toFixed(3)}  default ${two(defaultScaleFactor(density))}`);
        lines.push(list('val', val), list('test', test));
      }
    }
  }
  for (const { form, density, val, test } of merge) {
    lines.push('', `OPCM, ${form === null ? 'uncompressed' : `${form}, ${percent(density!)}`}, by output scale`);
    lines.push(list('val', val), list('test', test));
  }
  return lines.join('\n');
}

function list(split: string, scores: readonly Score[]): string {
  return `  ${split.padEnd(4)} ${scores.map(({ factor, accuracy }) => `${two(factor)}: ${two(accuracy)}`).join('  ')}`;
}

function percent(density: number): string {
  return `${Math.round(100 * density)} %`;
}

function two(value: number): string {
  return value.toFixed(2);
}
