/** The reasons for which a request to a Kubernetes API server fails: one closed set. */

import { CodedError } from "@kvsync/core";

/** Facts of a request that came to nothing. */
export type ApiFacts =
  | { readonly code: "unreachable" | "timeout" | "disconnected" | "credentials"; readonly server: string }
  | {
      readonly code: "unauthorized" | "forbidden" | "gone" | "throttled" | "server_error" | "refused";
      readonly server: string;
      readonly status: number;
      /** What the server asks to wait; null when it does not. */
      readonly retryAfterMs: number | null;
    }
  | { readonly code: "malformed"; readonly server: string; readonly expected: string }
  | { readonly code: "too_large"; readonly server: string; readonly bytesMax: number };

/** The API server does not answer, or not well. */
export class ApiError extends CodedError<ApiFacts> {}
