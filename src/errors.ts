/**
 * Every error that kinmerge throws on purpose: a stable `code` for programs, structured `fields`, and a message that
 * tells a person what to do next.
 */
export class KinmergeError<Code extends string = string> extends Error {
  readonly code: Code;
  readonly fields: Readonly<Record<string, unknown>>;

  constructor(code: Code, message: string, fields: Record<string, unknown> = {}, options?: ErrorOptions) {
    super(message, options);
    this.name = new.target.name;
    this.code = code;
    this.fields = fields;
  }
}

/** The code of an error, or `UNEXPECTED` for one that is not ours. */
export function errorCode(error: unknown): string {
  return error instanceof KinmergeError ? error.code : 'UNEXPECTED';
}
