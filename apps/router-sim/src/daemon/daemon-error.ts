/** Errors between router-sim and the daemon that it drives, by code. */
import { CodedError } from "@kvsync/core";

/** Facts by code. */
export type DaemonFacts =
  | { readonly code: "daemon_absent"; readonly path: string }
  | { readonly code: "daemon_exited"; readonly exitCode: number | null; readonly signal: string | null }
  | { readonly code: "daemon_not_listening"; readonly seconds: number }
  | { readonly code: "daemon_not_ready"; readonly seconds: number }
  | { readonly code: "daemon_unreachable"; readonly path: string }
  | { readonly code: "daemon_timed_out"; readonly path: string; readonly milliseconds: number }
  | {
      readonly code: "daemon_refused";
      readonly path: string;
      readonly status: number;
      readonly problem: string;
    }
  | { readonly code: "daemon_answer_malformed"; readonly path: string; readonly expected: string };

/** The daemon did not do what its contract says; the message names the request and what came back. */
export class DaemonError extends CodedError<DaemonFacts> {
  override readonly name = "DaemonError";
}
