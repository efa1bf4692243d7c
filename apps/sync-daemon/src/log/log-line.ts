/** A line for the log, as the daemon's parts make it and threads hand it over. Structured-cloneable. */

import type { LineLevel } from "./log-level.ts";

/** One happening. */
export interface LogLine {
  readonly level: LineLevel;
  /** Code of what happened. */
  readonly event: string;
  readonly message: string;
  /** What it was about. An engine is `pod`, its model `model`, as in metrics. Never a token, a prompt, or text that a caller sent. */
  readonly facts: Readonly<Record<string, string | number | boolean | null>>;
  /** Who speaks, where that is not the part whose log it goes to. */
  readonly component?: string;
}
