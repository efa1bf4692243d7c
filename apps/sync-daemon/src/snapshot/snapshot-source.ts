/**
 * The snapshots that a daemon starts from: its own last one, the one before that, or those that
 * running daemons give.
 *
 *     own ──refused or absent──▶ own.previous ──refused or absent──▶ siblings ──refused or none──▶ cold start
 *      └──────── of another shard ──┴──────────────────────────────────▶ siblings, and this one
 *
 * A shard takes the rows of its own workers from every daemon that is named. After a change of shard.count several have them.
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
import { type FleetShard, WHOLE_FLEET } from "../engine/fleet-shard.ts";
import { SnapshotError } from "./snapshot-error.ts";
import { type SnapshotHead, verifySnapshot } from "./snapshot-file.ts";
import { SNAPSHOT_NAME, type SnapshotSettings } from "../settings/snapshot-settings.ts";

/** Largest snapshot taken over the network: what the largest index (3 GiB) could make, at 24 bytes a holder. */
const FETCH_BYTES_MAX = 8 * 1024 * 1024 * 1024;

/** Attempts to take another replica's snapshot: the network of a new pod can be seconds late. A fleet that starts as a whole waits as long for nothing. */
const FETCHES_MAX = 5;
const FETCH_PAUSE_MS = 1000;

/** Snapshots taken at once from other daemons. */
const FETCHES_AT_ONCE = 32;

/** Snapshots that were found whole. */
export interface FoundSnapshot {
  /** One, or those of several daemons, each with a part of what is wanted. */
  readonly paths: readonly [string, ...string[]];
  readonly origin: "own" | "previous" | "sibling";
  /** Of the paths, those that are not needed once the index is filled. */
  readonly fetched: readonly string[];
}

/** What hears of attempts. */
export interface SourceListener {
  /** A file was there and is not used, or a sibling did not give one. */
  refused(origin: FoundSnapshot["origin"], error: SnapshotError): void;
}

/** What is looked for, and where. */
export interface SnapshotSearch {
  readonly settings: SnapshotSettings;
  /** Where a fetched one may lie. */
  readonly folder: string;
  /** The part of the fleet that will be followed. */
  readonly shard: FleetShard;
  /** This machine's name: a daemon does not ask itself. */
  readonly host: string;
}

/** Takes a snapshot from a daemon. False when that one has no worker that is wanted. */
type Fetch = (search: SnapshotSearch, base: string, path: string) => Promise<boolean>;

/**
 * Finds the snapshots to start from.
 *
 * @param search - what, and where.
 * @param listener - hears of refusals.
 * @param tracing - null when off.
 * @returns null for a cold start.
 */
export function findSnapshot(
  search: SnapshotSearch,
  listener: SourceListener,
  tracing: Tracing | null,
): Promise<FoundSnapshot | null> {
  if (tracing === null) return find(search, listener, fetchSnapshot);
  const fetchTraced: Fetch = (own, base, path) =>
    tracing.within("GET", (span) => {
      span.set({ "http.request.method": "GET", ...serverOf(base) });
      return fetchSnapshot(own, base, path, tracing.headers());
    });
  const work = async (span: NamedSpan<"snapshot.find">): Promise<FoundSnapshot | null> => {
    const found = await find(search, listener, fetchTraced);
    span.set({ "kvsync.origin": found?.origin ?? "none" });
    return found;
  };
  return tracing.within("snapshot.find", work);
}

async function find(
  search: SnapshotSearch,
  listener: SourceListener,
  fetchFrom: Fetch,
): Promise<FoundSnapshot | null> {
  const own = ownSnapshot(search, listener);
  if (own?.isOfShard === true) return { paths: [own.path], origin: own.origin, fetched: [] };
  // Its shard was another: what it lacks now, other daemons have.
  const [first, ...others] = await fetchAll(search, listener, fetchFrom);
  const before = own === null ? [] : [own.path];
  if (first !== undefined)
    return { paths: [first, ...others, ...before], origin: "sibling", fetched: [first, ...others] };
  return own === null ? null : { paths: [own.path], origin: own.origin, fetched: [] };
}

/** The last snapshot of this daemon, or the one before it. */
function ownSnapshot(
  { settings, shard }: SnapshotSearch,
  listener: SourceListener,
): { readonly path: string; readonly origin: "own" | "previous"; readonly isOfShard: boolean } | null {
  if (settings.directory === null) return null;
  const last = join(settings.directory, SNAPSHOT_NAME);
  for (const [origin, path] of [
    ["own", last],
    ["previous", `${last}.previous`],
  ] as const) {
    const head = headOfWhole(path, origin, listener);
    if (head === null) continue;
    const { index, count } = head.shard ?? WHOLE_FLEET;
    return { path, origin, isOfShard: index === shard.index && count === shard.count };
  }
  return null;
}

/** Takes snapshots from every daemon that is named, some at once. */
async function fetchAll(
  search: SnapshotSearch,
  listener: SourceListener,
  fetchFrom: Fetch,
): Promise<readonly string[]> {
  const { settings, folder, host } = search;
  const deadlineMs = performance.now() + settings.warm_timeout_seconds * 1000;
  const waiting = settings.warm_from
    .filter((base) => !isSelf(base, host))
    .map((base, i) => ({ base, path: join(folder, `${SNAPSHOT_NAME}.fetched${i === 0 ? "" : `-${i}`}`) }));
  const fetched: string[] = [];
  const work = async (): Promise<void> => {
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
      const { base, path } = next;
      const isThere = await fetchPatiently(() => fetchFrom(search, base, path), deadlineMs).catch(
        (error: unknown) => {
          rmSync(path, { force: true });
          if (!(error instanceof SnapshotError)) throw error;
          listener.refused("sibling", error);
          return false;
        },
      );
      if (isThere && headOfWhole(path, "sibling", listener) !== null) fetched.push(path);
    }
  };
  await Promise.all(Array.from({ length: FETCHES_AT_ONCE }, work));
  return fetched;
}

/** Tries again while the other daemon may still come. */
async function fetchPatiently(attempt: () => Promise<boolean>, deadlineMs: number): Promise<boolean> {
  for (let tried = 1; ; tried++) {
    try {
      return await attempt();
    } catch (error) {
      const isLast = tried === FETCHES_MAX || performance.now() + FETCH_PAUSE_MS > deadlineMs;
      if (isLast || !(error instanceof SnapshotError) || error.facts.code !== "fetch_failed") throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, FETCH_PAUSE_MS));
  }
}

/** Whether an address is this pod's: its name, before the name of its Service. */
function isSelf(base: string, host: string): boolean {
  const [name = ""] = new URL(base).hostname.split(".");
  return name === host.split(".")[0];
}

function headOfWhole(
  path: string,
  origin: FoundSnapshot["origin"],
  listener: SourceListener,
): SnapshotHead | null {
  try {
    return verifySnapshot(path).head;
  } catch (error) {
    if (!(error instanceof SnapshotError)) throw error;
    const isAbsent = error.facts.code === "io_failed" && error.facts.reason === "ENOENT";
    // A first start has none, which is nothing to tell of.
    if (!isAbsent) listener.refused(origin, error);
    return null;
  }
}

async function fetchSnapshot(
  { settings: { warm_timeout_seconds, warm_token_file }, shard }: SnapshotSearch,
  base: string,
  path: string,
  more: Readonly<Record<string, string>> = {},
): Promise<boolean> {
  const part = shard.isPart ? `?shard_index=${shard.index}&shard_count=${shard.count}` : "";
  const url = `${base.replace(/\/+$/, "")}/api/v1/snapshot${part}`;
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
    if (response.status === 204) return false;
    if (response.status !== 200 || response.body === null) throw failed(`status ${response.status}`);
    makeFolder(dirname(path));
    await pipeline(Readable.fromWeb(response.body), bounded, createWriteStream(path, { mode: 0o600 }));
    return true;
  } catch (error) {
    if (error instanceof SnapshotError) throw error;
    const { cause } = error as { readonly cause?: { readonly code?: string } };
    throw failed(cause?.code ?? (error instanceof Error ? error.message : String(error)), error);
  }
}
