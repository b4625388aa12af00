/** The command line as the package has it, compiled. Its arguments follow those of `kinmerge`. */
import { main } from '../../../node/cli/main.ts';

process.exitCode = await main(process.argv.slice(2));
