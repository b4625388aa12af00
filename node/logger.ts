import pino from 'pino';
import pretty from 'pino-pretty';

export type { Logger } from 'pino';

/** Levels of the daemon's log, the quietest first. */
export const LOG_LEVELS = ['silent', 'error', 'warn', 'info', 'debug', 'trace'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

/** The daemon's log: readable lines on a terminal, JSON lines anywhere else; always on stderr. */
export function createLogger(options: { level: LogLevel }): pino.Logger {
  const stderr = pino.destination({ dest: 2, sync: true });
  if (!process.stderr.isTTY) return pino({ level: options.level, base: null }, stderr);
  return pino({ level: options.level }, pretty({ destination: 2, sync: true, ignore: 'pid,hostname' }));
}
