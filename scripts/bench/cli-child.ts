/** `kinmerge` from its sources, for a benchmark that must show what a user gets. The job is the command line. */
import { main } from '../../node/cli/main.ts';

process.exitCode = await main(JSON.parse(process.argv[2]!) as string[]);
