#!/usr/bin/env node
// Plain JavaScript that an old Node can read: it finds a Node that is new enough, then hands over.
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';

// libp2p's dependencies need Promise.withResolvers, which came with 22.12's V8 line.
const NEEDED = [22, 12];

const [major, minor] = process.versions.node.split('.').map(Number);
if (major > NEEDED[0] || (major === NEEDED[0] && minor >= NEEDED[1])) {
  const { main } = await import('../dist/node/cli/main.js');
  process.exitCode = await main(process.argv.slice(2));
} else {
  const binary = packagedNode();
  if (binary === undefined) {
    process.stderr.write(
      `kinmerge needs Node ${NEEDED.join('.')} or newer, this is ${process.versions.node}: ` +
        'install a newer Node, or add one beside kinmerge with `npm install node@24`\n',
    );
    process.exitCode = 2;
  } else {
    handOver(binary);
  }
}

/** The binary of the npm package `node`, when it is installed and is not this one. */
function packagedNode() {
  try {
    const manifest = createRequire(import.meta.url).resolve('node/package.json');
    const binary = join(dirname(manifest), 'bin', process.platform === 'win32' ? 'node.exe' : 'node');
    return existsSync(binary) ? binary : undefined;
  } catch {
    return undefined;
  }
}

function handOver(binary) {
  const child = spawn(binary, process.argv.slice(1), { stdio: 'inherit' });
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'];
  for (const signal of signals) process.on(signal, () => child.kill(signal));
  child.on('error', (error) => {
    process.stderr.write(`cannot start ${binary}: ${error.message}\n`);
    process.exitCode = 2;
  });
  child.on('exit', (code, signal) => {
    if (signal !== null) {
      for (const name of signals) process.removeAllListeners(name);
      process.kill(process.pid, signal);
    } else {
      process.exitCode = code ?? 1;
    }
  });
}
