/**
 * The body of a list and of a watch, as objects of one kind.
 *
 *   list    {"metadata":{"resourceVersion":…,"continue":…},"items":[object, …]}
 *   watch   one JSON object a line: {"type":"ADDED"|"MODIFIED"|"DELETED","object":object}
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

/** One page of 500 objects of the largest kind. */
const LIST_BYTES_MAX = 128 * 1024 * 1024;
/** etcd takes objects of 1.5 MiB; a watch repeats them with a frame. */
const EVENT_BYTES_MAX = 4 * 1024 * 1024;
const NEWLINE = 0x0a;

/** An object of the API server, as much of it as is needed. */
export interface Resource {
  /** `namespace/name`, or `name` where it has no namespace. */
  readonly id: string;
  readonly resourceVersion: string;
}

/** What is watched, and how an object of it is read. */
export interface ResourceKind<Item extends Resource> {
  /** For people: "pods". */
  readonly noun: string;
  /** Path of its API group and version: `/api/v1`. */
  readonly group: string;
  /** Its name in paths. */
  readonly plural: string;
  /** Reads an object as the API server sends it; null when it is no such object at all. */
  readonly read: (object: unknown) => Item | null;
}

/** One page of a list. */
export interface ResourcePage<Item extends Resource> {
  readonly items: readonly Item[];
  /** Items that are none of the kind. */
  readonly unreadable: number;
  readonly resourceVersion: string;
  /** Asks for the next page; null at the last. */
  readonly more: string | null;
}

/** Something that happened to an object, or where the watch stands. */
export type WatchEvent<Item extends Resource> =
  | { readonly kind: "present" | "absent"; readonly item: Item }
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
 * @param kind - what it lists.
 * @returns its objects.
 * @throws ApiError disconnected, malformed, too_large.
 */
export async function readPage<Item extends Resource>(
  body: Readable,
  server: string,
  kind: ResourceKind<Item>,
): Promise<ResourcePage<Item>> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of chunksOf(body, server)) {
    bytes += chunk.length;
    if (bytes > LIST_BYTES_MAX) throw tooLarge(server, `a page of ${kind.noun}`, LIST_BYTES_MAX);
    chunks.push(chunk);
  }
  const parsed = page.safeParse(jsonOf(Buffer.concat(chunks)));
  if (!parsed.success) throw malformed(server, `a list of ${kind.noun}`);
  const objects = parsed.data.items ?? [];
  const items = objects.map((object) => kind.read(object)).filter((item) => item !== null);
  const { resourceVersion, continue: more = "" } = parsed.data.metadata;
  const unreadable = objects.length - items.length;
  return { items, unreadable, resourceVersion, more: more === "" ? null : more };
}

/**
 * Reads a watch: what comes in one piece of the network comes in one piece here.
 *
 * @param body - of the answer.
 * @param server - who sends it, for messages.
 * @param kind - what is watched.
 * @returns ends when the server ends it.
 * @throws ApiError disconnected, malformed, too_large; the reason of an ERROR event.
 */
export async function* readWatch<Item extends Resource>(
  body: Readable,
  server: string,
  kind: ResourceKind<Item>,
): AsyncGenerator<WatchEvent<Item>[], void> {
  let rest: Buffer[] = [];
  let restBytes = 0;
  for await (const chunk of chunksOf(body, server)) {
    const events: WatchEvent<Item>[] = [];
    let begin = 0;
    for (let end = chunk.indexOf(NEWLINE); end >= 0; end = chunk.indexOf(NEWLINE, begin)) {
      const line = Buffer.concat([...rest, chunk.subarray(begin, end)]);
      [rest, restBytes, begin] = [[], 0, end + 1];
      if (line.length === 0) continue;
      try {
        events.push(readEvent(line, server, kind));
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

function readEvent<Item extends Resource>(
  line: Buffer,
  server: string,
  kind: ResourceKind<Item>,
): WatchEvent<Item> {
  const parsed = event.safeParse(jsonOf(line));
  if (!parsed.success) throw malformed(server, "an event of a watch");
  const { type, object } = parsed.data;
  switch (type) {
    case "ADDED":
    case "MODIFIED":
    case "DELETED": {
      const item = kind.read(object);
      if (item === null) return { kind: "unreadable" };
      return { kind: type === "DELETED" ? "absent" : "present", item };
    }
    case "BOOKMARK": {
      const read = bookmark.safeParse(object);
      if (!read.success) throw malformed(server, "a bookmark with a resource version");
      return { kind: "bookmark", resourceVersion: read.data.metadata.resourceVersion };
    }
    case "ERROR":
      throw statusError(object, server);
    default:
      // A kind of event that is not known yet says nothing about objects.
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
