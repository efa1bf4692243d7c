/**
 * Refuses requests under a foreign host name where no token is checked: on loopback without tokens. A page in a browser of the same machine
 * can have its own name resolve to 127.0.0.1 (DNS rebinding). Its requests then carry that name in the Host header.
 *
 * Names of this machine's loopback and those in `http.host_names` are served. A request without a Host header is served too: browsers always send one. One
 * with several is refused, since a proxy may have judged another one than this daemon.
 */

import type { FastifyInstance } from "fastify";

import { isLoopback } from "../settings/security-settings.ts";
import { AccessError } from "./access-error.ts";

const EXPECTED = "localhost, 127.0.0.1 or [::1], or a name listed in http.host_names";

/**
 * Checks the Host header of each request. Before the server's routes are registered.
 *
 * @param server - any.
 * @param names - further names that are served.
 * @param refused - called for each refusal.
 */
export function checkHosts(server: FastifyInstance, names: readonly string[], refused: () => void): void {
  const served = new Set(names.map((name) => name.toLowerCase()));
  server.addHook("onRequest", (request, _reply, done) => {
    const host = request.headers.host ?? "";
    if (!hasSeveral(request.raw.rawHeaders) && (host === "" || isServed(host, served))) {
      done();
      return;
    }
    refused();
    done(
      new AccessError(
        { code: "foreign_host", expected: EXPECTED },
        `the Host header names another host; expected ${EXPECTED}`,
      ),
    );
  });
}

/** Node keeps the first one, and its list of names and values all of them. */
function hasSeveral(rawHeaders: readonly string[]): boolean {
  return rawHeaders.filter((text, i) => i % 2 === 0 && text.toLowerCase() === "host").length > 1;
}

function isServed(host: string, served: ReadonlySet<string>): boolean {
  const name = host.replace(/:\d*$/, "").toLowerCase();
  return isLoopback(name.replace(/^\[(.*)\]$/, "$1").replace(/\.$/, "")) || served.has(name);
}
