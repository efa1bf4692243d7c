/** The server that a client span is about. */

/** As OpenTelemetry names it. */
interface ServerAttributes {
  readonly "server.address": string;
  readonly "server.port": number;
}

/**
 * Names a server.
 *
 * @param url - of the server, by http or https.
 * @returns its host, and its port or the one of the protocol.
 */
export function serverOf(url: string): ServerAttributes {
  const { hostname, port, protocol } = new URL(url);
  return {
    "server.address": hostname,
    "server.port": Number(port === "" ? (protocol === "https:" ? 443 : 80) : port),
  };
}
