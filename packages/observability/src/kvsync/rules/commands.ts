/**
 * Commands of runbooks that several of them share, so that each is right in one place. They work
 * with infra/kubernetes as it is: two replicas, and tokens in use. `kubectl logs deploy/…` would
 * pick one replica, not the one that the alert is about. In the image they need no tools but Node's
 * and the shell's.
 */

const REPLICAS = "-l app.kubernetes.io/name=kvsync-daemon";

/**
 * Lines of all replicas' logs, each with its pod before it.
 *
 * @param event - as the lines name it.
 * @param lines - how many of the last.
 * @returns a command.
 */
export function logLines(event: string, lines: number): string {
  return `kubectl logs ${REPLICAS} --prefix --tail=-1 | grep ${event} | tail -n ${lines}`;
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
