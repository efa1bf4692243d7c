/** The findings of `doctor`: one per thing looked at. */

/** How it is: `fail` needs a person, `warn` should be known, `skip` could not be looked at. */
export type FindingStatus = "ok" | "warn" | "fail" | "skip";

/** One thing that was looked at. */
export interface Finding {
  readonly check:
    | "settings"
    | "sync"
    | "events"
    | "replay"
    | "stream"
    | "block_size"
    | "tokenizer"
    | "parity"
    | "daemon";
  /** Of what: an engine's rank, a model, an address. */
  readonly subject: string;
  readonly status: FindingStatus;
  /** One sentence: what was seen, and what to do where something is to be done. */
  readonly message: string;
}
