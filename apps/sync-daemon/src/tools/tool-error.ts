/**
 * The error of a tool that cannot do its task. The message names the fault, its place, and what to
 * check.
 */

import { CodedError } from "@kvsync/core";

/** Facts of a tool's failure. */
export type ToolFacts =
  | { readonly code: "unreachable"; readonly endpoint: string; readonly reason: string }
  | {
      readonly code: "daemon_unreachable";
      readonly url: string;
      /** Code of the system or of TLS. */
      readonly cause: string;
      /** One sentence without the address. */
      readonly reason: string;
    }
  | { readonly code: "no_answer"; readonly endpoint: string; readonly seconds: number }
  | {
      readonly code: "http_status";
      readonly url: string;
      readonly status: number;
      /** One sentence without the address. */
      readonly reason: string;
    }
  | {
      readonly code: "unusable_answer";
      readonly url: string;
      /** One sentence without the address. */
      readonly reason: string;
    }
  | { readonly code: "unreadable_file"; readonly path: string }
  | { readonly code: "pod_unusable"; readonly namespace: string; readonly pod: string }
  | { readonly code: "unwritable_file"; readonly path: string };

/** A failure that the user can do something about: exit code 1, one line. */
export class ToolError extends CodedError<ToolFacts> {}
