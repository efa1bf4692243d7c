/**
 * A JSON answer that is compressed where the caller takes gzip: answers that are long and asked for
 * again and again, such as a history.
 *
 * Compression runs in the thread pool. Answers below COMPRESS_BYTES_MIN travel as they are: their
 * head would be most of them.
 */

import { promisify } from "node:util";
import { gzip } from "node:zlib";

import type { FastifyReply, FastifyRequest } from "fastify";

import { takesGzip } from "../dashboard/static-files.ts";

/** About one packet. */
const COMPRESS_BYTES_MIN = 1400;
/** Fast: the seventh level takes three times as long for a tenth less. */
const LEVEL = 4;

const compressed = promisify(gzip);

/**
 * Sends an answer that no cache keeps.
 *
 * @param request - with what its caller takes.
 * @param reply - is sent.
 * @param body - of the answer.
 */
export async function sendJson(request: FastifyRequest, reply: FastifyReply, body: object): Promise<void> {
  const bytes = Buffer.from(JSON.stringify(body));
  void reply.headers({
    "content-type": "application/json; charset=utf-8",
    "cache-control": "no-store",
    vary: "accept-encoding",
  });
  const { "accept-encoding": accepted } = request.headers;
  if (
    bytes.length < COMPRESS_BYTES_MIN ||
    !takesGzip(Array.isArray(accepted) ? accepted.join(",") : accepted)
  ) {
    await reply.send(bytes);
    return;
  }
  const small = await compressed(bytes, { level: LEVEL });
  await reply.header("content-encoding", "gzip").send(small);
}
