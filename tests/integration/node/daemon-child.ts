/** The command line as it is, in a process that watches its own event loop and tells of it when asked. */
import './loop-delay.ts';
import { main } from '../../../node/cli/main.ts';

process.exitCode = await main(process.argv.slice(2));
process.disconnect();
