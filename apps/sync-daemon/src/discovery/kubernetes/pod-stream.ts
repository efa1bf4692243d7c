/**
 * The body of a list and of a watch, as pods.
 *
 *   list    {"metadata":{"resourceVersion":…,"continue":…},"items":[pod, …]}
 *   watch   one JSON object a line: {"type":"ADDED"|"MODIFIED"|"DELETED","object":pod}
 *                                   {"type":"BOOKMARK","object":{"metadata":{"resourceVersion":…}}}
 *                                   {"type":"ERROR","object":{"code":410,"message":…}}
 *
 * Lines are cut at bytes, before they are text: an event may be cut anywhere by the network, in the
 * middle of a character too. A line that is no event ends the watch: it may be a damaged event. A
 * new watch from the last good version recovers it.
 */

import type { Readable } from "node:stream";

import { z } from "zod";

import { ApiError } from "./api-error.ts";
import { disconnected, refusalCode } from "./api-server.ts";
import { type PodReading, readPod } from "./pod-reading.ts";

/** One page of 500 pods of the largest kind. */
const LIST_BYTES_MAX = 128 * 1024 * 1024;
/** etcd takes objects of 1.5 MiB; a watch repeats them with a frame. */
const EVENT_BYTES_MAX = 4 * 1024 * 1024;
const NEWLINE = 0x0a;

/** One page of a list. */
export interface PodPage {
  readonly pods: readonly PodReading[];
  /** Items that are no pods. */
  readonly unreadable: number;
  readonly resourceVersion: string;
  /** Asks for the next page; null at the last. */
  readonly more: string | null;
}

/** Something that happened to a pod, or where the watch stands. */
export type WatchEvent =
  | { readonly kind: "present" | "absent"; readonly pod: PodReading }
  | { readonly kind: "unreadable" }
  | { readonly kind: "bookmark"; readonly resourceVersion: string };

const page = z.object({
  metadata: z.object({ resourceVersion: z.string().min(1), continue: z.string().optional() }),
  items: z.array(z.unknown()).nullable(),
});
const event = z.object({ type: z.string(), object: z.looseObject({}) });
const bookmark = z.object({ metadata: z.object({ resourceVersion: z.string().min(1) }) });
const status = z.object({ code: z.number().default(500), message: z.string().default("no message") });

/**
 * Reads one page of a list.
 *
 * @param body - of the answer.
 * @param server - who sends it, for messages.
 * @returns its pods.
 * @throws ApiError disconnected, malformed, too_large.
 */
export async function readPage(body: Readable, server: string): Promise<PodPage> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of chunksOf(body, server)) {
    bytes += chunk.length;
    if (bytes > LIST_BYTES_MAX) throw tooLarge(server, "a page of pods", LIST_BYTES_MAX);
    chunks.push(chunk);
  }
  const parsed = page.safeParse(jsonOf(Buffer.concat(chunks)));
  if (!parsed.success) throw malformed(server, "a list of pods");
  const items = parsed.data.items ?? [];
  const pods = items.map(readPod).filter((pod) => pod !== null);
  const { resourceVersion, continue: more = "" } = parsed.data.metadata;
  return { pods, unreadable: items.length - pods.length, resourceVersion, more: more === "" ? null : more };
}

/**
 * Reads a watch: what comes in one piece of the network comes in one piece here.
 *
 * @param body - of the answer.
 * @param server - who sends it, for messages.
 * @returns ends when the server ends it.
 * @throws ApiError disconnected, malformed, too_large; the reason of an ERROR event.
 */
export async function* readWatch(body: Readable, server: string): AsyncGenerator<WatchEvent[], void> {
  let rest: Buffer[] = [];
  let restBytes = 0;
  for await (const chunk of chunksOf(body, server)) {
    const events: WatchEvent[] = [];
    let begin = 0;
    for (let end = chunk.indexOf(NEWLINE); end >= 0; end = chunk.indexOf(NEWLINE, begin)) {
      const line = Buffer.concat([...rest, chunk.subarray(begin, end)]);
      [rest, restBytes, begin] = [[], 0, end + 1];
      if (line.length === 0) continue;
      try {
        events.push(readEvent(line, server));
      } catch (error) {
        // What came before it is good.
        yield events;
        throw error;
      }
    }
    const left = chunk.subarray(begin);
    restBytes += left.length;
    if (restBytes > EVENT_BYTES_MAX) throw tooLarge(server, "an event", EVENT_BYTES_MAX);
    rest.push(left);
    if (events.length > 0) yield events;
  }
  if (restBytes > 0) throw disconnected(server, "in the middle of an event");
}

function readEvent(line: Buffer, server: string): WatchEvent {
  const parsed = event.safeParse(jsonOf(line));
  if (!parsed.success) throw malformed(server, "an event of a watch");
  const { type, object } = parsed.data;
  switch (type) {
    case "ADDED":
    case "MODIFIED":
    case "DELETED": {
      const pod = readPod(object);
      if (pod === null) return { kind: "unreadable" };
      return { kind: type === "DELETED" ? "absent" : "present", pod };
    }
    case "BOOKMARK": {
      const read = bookmark.safeParse(object);
      if (!read.success) throw malformed(server, "a bookmark with a resource version");
      return { kind: "bookmark", resourceVersion: read.data.metadata.resourceVersion };
    }
    case "ERROR":
      throw statusError(object, server);
    default:
      // A kind of event that is not known yet says nothing about pods.
      return { kind: "unreadable" };
  }
}

function statusError(object: unknown, server: string): ApiError {
  const { code, message } = status.catch({ code: 500, message: "no message" }).parse(object);
  const facts = { code: refusalCode(code), server, status: code, retryAfterMs: null };
  return new ApiError(facts, `${server} ended the watch with ${code}: ${message}`);
}

async function* chunksOf(body: Readable, server: string): AsyncGenerator<Buffer, void> {
  try {
    for await (const chunk of body) yield chunk as Buffer;
  } catch (error) {
    throw error instanceof ApiError ? error : disconnected(server, error);
  } finally {
    body.destroy();
  }
}

function malformed(server: string, expected: string): ApiError {
  return new ApiError(
    { code: "malformed", server, expected },
    `${server} sent something else than ${expected}`,
  );
}

function tooLarge(server: string, what: string, bytesMax: number): ApiError {
  return new ApiError(
    { code: "too_large", server, bytesMax },
    `${server} sent ${what} of more than ${bytesMax} bytes`,
  );
}

function jsonOf(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString("utf8")) as unknown;
  } catch {
    return undefined;
  }
}
