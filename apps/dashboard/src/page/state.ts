/**
 * The state behind every view: that of the stream, and the signals after which views are drawn again.
 *
 *     connection ──▶ messages ──▶ fleet, history ──▶ version + 1 ──▶ views draw
 *
 * Messages change the stores in place. `version` counts them, so a view that reads it draws once for each.
 */
import { batch, computed, signal } from "@preact/signals";

import { Connection, type ConnectionState } from "../stream/connection.ts";
import { FleetStore } from "../stream/fleet-store.ts";
import { type HistoryAnswer, HistoryStore, pointOf } from "../stream/history-store.ts";
import type { Hello, StreamMessage } from "../stream/stream-messages.ts";
import { type FleetSummary, summaryOf } from "../verdict/fleet-summary.ts";
import { ApiError, ask, otherInstance, send, streamInstance, token } from "./api.ts";

/** Who the token belongs to. */
export interface WhoAmI {
  readonly name?: string | null;
  readonly scope?: string | null;
  readonly tokens_in_use: boolean;
}

/** A tab that is hidden for so long closes its stream. */
const HIDDEN_MS = 60_000;
const RATE_SECONDS = 10;

/** The state of the fleet. */
export const fleet = new FleetStore();
/** The last hour. */
export const history = new HistoryStore();
/** Counts changes of {@link fleet} and {@link history}. */
const version = signal(0);
/** Where the stream stands. */
export const connectionState = signal<ConnectionState>({ kind: "connecting", lostAt: null });
/** The daemon's introduction; null before it. */
export const hello = signal<Hello | null>(null);
/** Who is logged in; null before the daemon answered, or where it has no such route. */
export const whoAmI = signal<WhoAmI | null>(null);
/** Seconds that charts show. */
export const range = signal<900 | 3600>(3600);
/** Milliseconds since 1970 by the daemon's clock, once a second. */
export const now = signal(Date.now());
/** The history could not be read; null when it was. */
export const historyFailure = signal<ApiError | null>(null);
/** Whether the history was read. */
export const hasHistory = signal(false);
/** Bytes per second of the stream over the last seconds. */
export const streamRate = signal(0);

/** Whether any state has arrived. */
export const hasData = computed(() => version.value > 0);

/** The counts of the fleet. */
export const fleetSummary = computed<FleetSummary>(() => {
  followStream();
  return summaryOf(fleet.rows.values());
});

/**
 * Draws the calling view again with each message.
 *
 * @returns how many there were.
 */
export function followStream(): number {
  return version.value;
}

/** Whether what is shown is old: its age in milliseconds, or null while it is live. */
export const staleness = computed<number | null>(() => {
  if (connectionState.value.kind === "live" || !hasData.value) return null;
  return Math.max(0, now.value - fleet.at);
});

/** Whether the daemon has a feature. */
export function hasFeature(name: string): boolean {
  return hello.value?.features?.includes(name) === true;
}

let clockOffset = 0;
let bytesLately = 0;

function takeMessage(message: StreamMessage): boolean {
  switch (message.kind) {
    case "hello":
      takeHello(message.body);
      return true;
    case "snapshot":
      fleet.applySnapshot(message.body);
      loadHistory();
      break;
    case "delta":
      if (!fleet.applyDelta(message.body)) return false;
      break;
    case "happening":
      fleet.applyHappening(message.body);
      break;
    case "alerts":
      fleet.applyAlerts(message.body);
      break;
    case "bye":
      return true;
  }
  batch(() => {
    version.value += 1;
    if (message.kind !== "happening" && message.kind !== "alerts") addPoint();
  });
  return true;
}

function takeHello(body: Hello): void {
  clockOffset = body.now - Date.now();
  now.value = Date.now() + clockOffset;
  hello.value = body;
  streamInstance.value = body.instance;
  otherInstance.value = null;
}

function addPoint(): void {
  const { engines, byTrust } = fleetSummary.value;
  const share = engines.length === 0 ? null : byTrust.exact / engines.length;
  history.add(fleet.at, pointOf(fleet.totals, fleet.models, share));
}

function loadHistory(): void {
  ask<HistoryAnswer>("dashboard/history?seconds=3600")
    .then((answer) => {
      history.load(answer, streamInstance.peek() ?? "");
      addPoint();
      historyFailure.value = null;
      hasHistory.value = true;
      version.value += 1;
    })
    .catch((error: unknown) => {
      historyFailure.value = error instanceof ApiError ? error : new ApiError(0, "", String(error), "");
      hasHistory.value = true;
    });
}

const connection = new Connection({
  open: (signal) => send("dashboard/stream", { signal, headers: { accept: "text/event-stream" } }),
  onMessage: takeMessage,
  onState: (state) => {
    connectionState.value = state;
  },
  onBytes: (bytes) => {
    bytesLately += bytes;
  },
  random: Math.random,
});

/** Connects at once. */
export function reconnect(): void {
  connection.start();
}

/** Closes the stream, or opens it again. */
export function togglePause(): void {
  if (connectionState.value.kind === "paused") connection.start();
  else connection.pause("paused");
}

/** Asks who the token belongs to. */
async function askWhoIAm(): Promise<void> {
  whoAmI.value = await ask<WhoAmI>("whoami").catch(() => null);
}

/** Starts the stream and everything that follows the browser's state. */
export function startPage(): void {
  setInterval(() => {
    now.value = Date.now() + clockOffset;
  }, 1000);
  setInterval(() => {
    streamRate.value = bytesLately / RATE_SECONDS;
    bytesLately = 0;
  }, RATE_SECONDS * 1000);
  window.addEventListener("online", () => {
    connection.wake();
  });
  window.addEventListener("offline", () => {
    connection.offline();
  });
  followVisibility();
  // At once, and again with another token.
  token.subscribe(() => {
    connection.start();
    void askWhoIAm();
  });
}

function followVisibility(): void {
  let timer: ReturnType<typeof setTimeout> | undefined;
  document.addEventListener("visibilitychange", () => {
    clearTimeout(timer);
    if (document.visibilityState === "visible") connection.wake();
    else
      timer = setTimeout(() => {
        if (connectionState.value.kind !== "paused") connection.pause("hidden");
      }, HIDDEN_MS);
  });
}
