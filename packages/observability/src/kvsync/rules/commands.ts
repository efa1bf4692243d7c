/**
 * Commands of runbooks that several of them share, so that each is right in one place. They work
 * with infra/kubernetes as it is: two replicas, and tokens in use. `kubectl logs deploy/…` would
 * pick one replica, not the one that the alert is about. In the image they need no tools but Node's
 * and the shell's.
 */

import { type EventCode, LOG_EVENTS } from "../catalogue/log-events.ts";
import { type LogSearch, logSearch } from "../../signals/log-query.ts";

const REPLICAS = "-l app.kubernetes.io/name=kvsync-daemon";

/** Puts the replica into each line of JSON, and leaves out what is none. */
const WITH_REPLICA = String.raw`sed -nE 's/^\[pod\/([^/]+)[^]]*\] \{/{"replica":"\1",/p'`;

/**
 * The last lines of some events, of all replicas together, each with its replica.
 *
 * @param lines - how many.
 * @param search - which.
 * @returns for a step of a runbook: the command, and LogQL for the same lines.
 */
export function logLines<Code extends EventCode>(
  lines: number,
  search: LogSearch<typeof LOG_EVENTS, Code>,
): { readonly command: string; readonly logql: string } {
  const { jq, logql } = logSearch(LOG_EVENTS, search);
  const withReplica = jq.replace("| {", "| {replica, ");
  const last = `map(${withReplica}) | sort_by(.time) | .[-${lines}:][]`;
  return {
    command: `kubectl logs ${REPLICAS} --prefix --tail=-1 | ${WITH_REPLICA} | jq -sc '${last}'`,
    logql: `{service_name="kvsync"} ${logql}`,
  };
}

/**
 * What the replicas that were there before said last.
 *
 * @param lines - how many of the last.
 * @returns a command.
 */
export function lastWords(lines: number): string {
  return `kubectl logs ${REPLICAS} --prefix --previous --tail=${lines}`;
}

/**
 * A question to the replica that the alert is about.
 *
 * @param path - of the HTTP API, with what follows it on the command line.
 * @returns a command.
 */
export function ask(path: `/${string}`): string {
  return `curl -s -m 2 -H "authorization: Bearer $TOKEN" 'http://DAEMON${path}'`;
}

/** What the placeholders stand for, for every runbook that has one. */
export const PLACEHOLDERS =
  "DAEMON is the alert's label `instance`. `$TOKEN` is a token with the scope read, and empty where none are in use. Write `https` where the daemon serves HTTPS.";
