/**
 * The snapshot that a daemon starts from: its own last one, the one before that, or one that a
 * running daemon gives.
 *
 *     own ──refused or absent──▶ own.previous ──refused or absent──▶ sibling ──refused or none──▶ cold start
 *
 * Nothing here can keep a daemon from starting: each refusal is reported, and the next is tried.
 */

import { createWriteStream, readFileSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { Readable, Transform } from "node:stream";
import { pipeline } from "node:stream/promises";

import { makeFolder } from "../folder.ts";
import { serverOf } from "../telemetry/server-attributes.ts";
import type { NamedSpan, Tracing } from "../telemetry/tracing.ts";
import { SnapshotError } from "./snapshot-error.ts";
import { verifySnapshot } from "./snapshot-file.ts";
import { SNAPSHOT_NAME, type SnapshotSettings } from "../settings/snapshot-settings.ts";

/** Largest snapshot taken over the network: what the largest index (3 GiB) could make, at 24 bytes a holder. */
const FETCH_BYTES_MAX = 8 * 1024 * 1024 * 1024;

/** Attempts to take another replica's snapshot: the network of a new pod can be seconds late. A fleet that starts as a whole waits as long for nothing. */
const FETCHES_MAX = 5;
const FETCH_PAUSE_MS = 1000;

/** A snapshot that was found whole. */
export interface FoundSnapshot {
  readonly path: string;
  readonly origin: "own" | "previous" | "sibling";
}

/** What hears of attempts. */
export interface SourceListener {
  /** A file was there and is not used, or a sibling did not give one. */
  refused(origin: FoundSnapshot["origin"], error: SnapshotError): void;
}

/**
 * Finds the snapshot to start from.
 *
 * @param settings - where to look.
 * @param folder - where a fetched one may lie.
 * @param listener - hears of refusals.
 * @param tracing - null when off.
 * @returns null for a cold start.
 */
export function findSnapshot(
  settings: SnapshotSettings,
  folder: string,
  listener: SourceListener,
  tracing: Tracing | null,
): Promise<FoundSnapshot | null> {
  if (tracing === null) return find(settings, folder, listener, fetchSnapshot);
  const fetchTraced = (own: SnapshotSettings, base: string, path: string): Promise<void> =>
    tracing.within("GET", (span) => {
      span.set({ "http.request.method": "GET", ...serverOf(base) });
      return fetchSnapshot(own, base, path, tracing.headers());
    });
  const work = async (span: NamedSpan<"snapshot.find">): Promise<FoundSnapshot | null> => {
    const found = await find(settings, folder, listener, fetchTraced);
    span.set({ "kvsync.origin": found?.origin ?? "none" });
    return found;
  };
  return tracing.within("snapshot.find", work);
}

async function find(
  settings: SnapshotSettings,
  folder: string,
  listener: SourceListener,
  fetchFrom: (settings: SnapshotSettings, base: string, path: string) => Promise<void>,
): Promise<FoundSnapshot | null> {
  if (settings.directory !== null) {
    const path = join(settings.directory, SNAPSHOT_NAME);
    for (const [origin, candidate] of [
      ["own", path],
      ["previous", `${path}.previous`],
    ] as const) {
      if (isWhole(candidate, origin, listener)) return { path: candidate, origin };
    }
  }
  if (settings.warm_from === null) return null;
  const path = join(folder, `${SNAPSHOT_NAME}.fetched`);
  const deadlineMs = performance.now() + settings.warm_timeout_seconds * 1000;
  for (let attempt = 1; ; attempt++) {
    try {
      await fetchFrom(settings, settings.warm_from, path);
      return isWhole(path, "sibling", listener) ? { path, origin: "sibling" } : null;
    } catch (error) {
      rmSync(path, { force: true });
      if (!(error instanceof SnapshotError)) throw error;
      const isLast = attempt === FETCHES_MAX || performance.now() + FETCH_PAUSE_MS > deadlineMs;
      if (isLast || error.facts.code !== "fetch_failed") {
        listener.refused("sibling", error);
        return null;
      }
    }
    await new Promise((resolve) => setTimeout(resolve, FETCH_PAUSE_MS));
  }
}

function isWhole(path: string, origin: FoundSnapshot["origin"], listener: SourceListener): boolean {
  try {
    verifySnapshot(path);
    return true;
  } catch (error) {
    if (!(error instanceof SnapshotError)) throw error;
    const isAbsent = error.facts.code === "io_failed" && error.facts.reason === "ENOENT";
    // A first start has none, which is nothing to tell of.
    if (!isAbsent) listener.refused(origin, error);
    return false;
  }
}

async function fetchSnapshot(
  { warm_timeout_seconds, warm_token_file }: SnapshotSettings,
  base: string,
  path: string,
  more: Readonly<Record<string, string>> = {},
): Promise<void> {
  const url = `${base.replace(/\/+$/, "")}/api/v1/snapshot`;
  const failed = (reason: string, cause?: unknown): SnapshotError =>
    new SnapshotError({ code: "fetch_failed", url, reason }, `no snapshot from ${url}: ${reason}`, { cause });
  let received = 0;
  const bounded = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      received += chunk.byteLength;
      const tooLarge = received > FETCH_BYTES_MAX;
      done(
        tooLarge
          ? new SnapshotError(
              { code: "too_large", url, bytesMax: FETCH_BYTES_MAX },
              `${url}: more than ${FETCH_BYTES_MAX} bytes`,
            )
          : null,
        chunk,
      );
    },
  });
  try {
    const token = warm_token_file === null ? null : readFileSync(warm_token_file, "utf8").trim();
    const response = await fetch(url, {
      headers: token === null ? more : { ...more, authorization: `Bearer ${token}` },
      signal: AbortSignal.timeout(warm_timeout_seconds * 1000),
    });
    if (response.status !== 200 || response.body === null) throw failed(`status ${response.status}`);
    makeFolder(dirname(path));
    await pipeline(Readable.fromWeb(response.body), bounded, createWriteStream(path, { mode: 0o600 }));
  } catch (error) {
    if (error instanceof SnapshotError) throw error;
    const { cause } = error as { readonly cause?: { readonly code?: string } };
    throw failed(cause?.code ?? (error instanceof Error ? error.message : String(error)), error);
  }
}
