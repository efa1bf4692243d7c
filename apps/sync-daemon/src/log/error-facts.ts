/** The facts that the log may state about an unexpected error. */

/** As the catalogue's events of errors have them. */
export interface ErrorFacts {
  readonly error_type: string;
  readonly error_code?: string;
  readonly error_message?: string;
  readonly stack?: string;
}

/**
 * Facts of an error: its type, its code where it has one, its message and where it arose. The message of a SyntaxError is left out: it quotes
 * the text that could not be parsed, which may be a prompt.
 *
 * @param error - whatever was thrown.
 * @returns facts for a line.
 */
export function errorFacts(error: unknown): ErrorFacts {
  if (!(error instanceof Error)) return { error_type: typeof error };
  const code = "code" in error && typeof error.code === "string" ? error.code : null;
  // The stack begins with the message.
  const frames = (error.stack ?? "").split("\n").filter((line) => /^\s+at /.test(line));
  return {
    error_type: error.name,
    ...(code === null ? {} : { error_code: code }),
    ...(error instanceof SyntaxError ? {} : { error_message: error.message }),
    ...(frames.length === 0 ? {} : { stack: frames.map((frame) => frame.trim()).join("\n") }),
  };
}
