/**
 * The messages between the main thread and those of the picker. Requests of a gateway never pass this way.
 */

import type { SharedIndexParts } from "@kvsync/core";
import type { SlotAnnouncement } from "@kvsync/observability/slots";

import type { LogLine } from "../log/log-line.ts";
import type { PickerSettings } from "../settings/picker-settings.ts";
import type { Settings } from "../settings/settings.ts";
import type { FinishedSpan } from "../telemetry/finished-span.ts";
import type { PickReply } from "./api-requests.ts";
import type { EngineBatch } from "./engine-feed.ts";
import type { AskedPick, Outcome, PickEnd } from "./pick-request.ts";
import type { PickerStatus } from "./picker-status.ts";
import type { TlsContent } from "./picker-tls.ts";

/** What a thread of the picker is started with. */
export interface PickerThreadSettings {
  /** Its number, from 0. The first one scrapes, answers probes and is on the bus. */
  readonly thread: number;
  /** Unlike that of all other daemons, and of this one before a restart. */
  readonly daemon: string;
  /** Begins the id of each pick over HTTP: unlike that of all other threads. */
  readonly pickPrefix: string;
  readonly picker: PickerSettings;
  /** The part of the fleet that this daemon follows; null for all of it. */
  readonly shard: { readonly index: number; readonly count: number } | null;
  /** Time between two looks whether files of tokens and authorities have changed. */
  readonly reloadMs: number;
  readonly index: SharedIndexParts;
  readonly board: SharedArrayBuffer;
  /** Of the registry's rank slots (engine/slot-incarnations.ts). */
  readonly incarnations: SharedArrayBuffer;
  /** How the threads stand (thread-board.ts). */
  readonly threads: SharedArrayBuffer;
  /** Memory of the log's level. */
  readonly logLevel: SharedArrayBuffer;
  /** How prompts become tokens, and the longest one that is looked up. */
  readonly tokenization: Pick<Settings, "sync" | "tokenizer" | "limits">;
  /** Share of the requests without a trace of their own that is traced; null when tracing is off. */
  readonly tracedRatio: number | null;
  /** Null with `picker.tls.mode` none. */
  readonly tls: TlsContent | null;
}

/** What the HTTP rim asks. */
export type PickerQuestion =
  | { readonly kind: "status" }
  | { readonly kind: "explain"; readonly asked: AskedPick }
  | { readonly kind: "pick"; readonly asked: AskedPick }
  | { readonly kind: "end"; readonly pick: string; readonly news: PickEnd }
  | { readonly kind: "outcomes"; readonly outcomes: readonly Outcome[] };

/** To a thread of the picker. */
export type ToPicker =
  | { readonly kind: "engines"; readonly batch: EngineBatch }
  /** Certificate files have changed. */
  | { readonly kind: "tls"; readonly tls: TlsContent }
  /** The daemon has been ready: requests may come. */
  | { readonly kind: "ready" }
  /** No request is to come any more; those that are open get the time of `picker.drain_seconds`. */
  | { readonly kind: "drain" }
  /** To be answered by the same id. */
  | { readonly kind: "ask"; readonly id: number; readonly question: PickerQuestion }
  | { readonly kind: "stop" };

/** What ended the thread. */
interface ThreadError {
  readonly name: string;
  readonly message: string;
  readonly stack: string;
  /** Of the system, such as EADDRINUSE. */
  readonly code?: string;
}

/** From a thread of the picker. */
export type FromPicker =
  | { readonly kind: "listening" }
  | { readonly kind: "engines_taken" }
  | {
      readonly kind: "answer";
      readonly id: number;
      readonly answer: PickReply | PickerStatus | boolean | number;
    }
  /** Every request is over, or was reset: so many were. */
  | { readonly kind: "drained"; readonly ms: number; readonly reset: number }
  /** An error that nothing caught: the thread does nothing from now on. */
  | { readonly kind: "failed"; readonly error: ThreadError }
  | { readonly kind: "metrics"; readonly announcement: SlotAnnouncement }
  | { readonly kind: "log"; readonly line: LogLine }
  | { readonly kind: "span"; readonly span: FinishedSpan };
