import { calibrate, renderCalibration } from './calibrate.ts';
import { HELP, parseCommand } from './options.ts';
import { renderReport } from './report.ts';
import { simulate } from './simulation.ts';

/** Exit codes as the CLI's: 2 for a wrong argument, 3 when the run did not show what it should. */
const WRONG_ARGUMENT = 2;
const NOT_CONVERGED = 3;

try {
  const command = parseCommand(process.argv.slice(2));
  const print = (document: unknown, text: string) =>
    process.stdout.write(command.json ? `${JSON.stringify(document, null, 2)}\n` : text);
  if (command.help) process.stdout.write(HELP);
  else if (command.calibrate) {
    const calibrations = await calibrate((line) => process.stderr.write(`${line}\n`));
    print(calibrations, renderCalibration(calibrations));
  } else {
    const report = await simulate(command.options);
    print(report, renderReport(report));
    if (!report.converged) process.exitCode = NOT_CONVERGED;
  }
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : error}\n`);
  process.exitCode = WRONG_ARGUMENT;
}
