/** A response that stays open and is written to: the head of a stream of server-sent events. */

import type { FastifyContextConfig, FastifyReply, FastifyRequest } from "fastify";

import type { Viewer } from "../dashboard/live-stream.ts";

/** Configuration of its route: its end says nothing about the time that it took. */
export const STREAM: FastifyContextConfig = { isStream: true };

/**
 * Begins a stream.
 *
 * @param request - a HEAD request gets the head alone.
 * @param reply - is taken over.
 * @param watch - takes the viewer; returns what is to be called when the viewer is gone.
 */
export function openStream(
  request: FastifyRequest,
  reply: FastifyReply,
  watch: (viewer: Viewer) => () => void,
): void {
  void reply.headers({
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-store",
    "x-accel-buffering": "no",
  });
  if (request.method === "HEAD") {
    void reply.send();
    return;
  }
  const { raw } = reply;
  for (const [name, value] of Object.entries(reply.getHeaders()))
    if (value !== undefined) raw.setHeader(name, value);
  reply.hijack();
  const leave = watch({
    get writableLength() {
      return raw.writableLength;
    },
    write: (bytes) => raw.write(bytes),
    end: () => raw.end(),
  });
  raw.once("close", leave);
}
