import type { Command } from 'commander';
import { keyToText } from '../../../src/log/index.ts';
import { joinCommunity } from '../../community/join.ts';
import type { CommonOptions, Register } from '../context.ts';
import { EXIT } from '../exit-codes.ts';
import { collect } from '../parse.ts';

interface JoinVerbOptions extends CommonOptions {
  readonly base: string;
  readonly peer?: string[];
  readonly listen?: string[];
  readonly announce?: string[];
}

export function joinVerb(program: Command, register: Register): void {
  const command = program
    .command('join')
    .argument('<join line or charter>', 'kinmerge:<community id>@<multiaddr>, or the path of a charter')
    .description('check the base against the charter and make this home part of the community')
    .requiredOption('--base <path>', 'the base checkpoint')
    .option('--peer <multiaddr>', 'a peer to connect to, may be repeated', collect)
    .option('--listen <multiaddr>', 'address that the daemon will listen on, may be repeated', collect)
    .option('--announce <multiaddr>', 'address that others are told to dial instead, may be repeated', collect);
  register<JoinVerbOptions>(command, async (context, [target = ''], options) => {
    const { id, charter, author } = await joinCommunity(
      {
        target,
        base: options.base,
        peers: options.peer ?? [],
        listen: options.listen ?? [],
        announce: options.announce ?? [],
      },
      { home: context.home, signal: context.signal },
      { signal: context.signal, onProgress: context.output.progress },
    );
    const document = {
      community: id.toString(),
      name: charter.name,
      home: context.home.root,
      author: keyToText(author.publicKey),
    };
    context.output.result(document, () =>
      [
        `joined ${charter.name} (${id})`,
        `author key ${document.author} in ${context.home.authorKey}: keep a copy`,
        'next: kinmerge daemon',
      ].join('\n'),
    );
    return EXIT.done;
  });
}
