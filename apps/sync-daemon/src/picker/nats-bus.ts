/**
 * The bus between pickers: one NATS subject, to which each publishes and which each reads.
 *
 *     publish ──▶ connected? ──▶ NATS ──▶ the other pickers' `heard`
 *                     └ no: lost, and told to `unsent`
 *     connection lost ──▶ `lost` ──▶ tried again for ever, twice a second
 *
 *  N1  A message reaches the other pickers of its subject, and not its own (nats-bus.test.ts "N1").
 *  N2  Nothing throws and nothing waits while NATS is away. Messages of that time are dropped (nats-bus.test.ts "N2").
 *  N3  After NATS is back, messages arrive again (nats-bus.test.ts "N3").
 *  N4  Over TLS the server's certificate is checked. Ours and the credentials are read for each connection, so that renewed
 *      files count (nats-bus.test.ts "N4").
 *
 * The queue for a slow NATS is bounded by time: a connection that answers no ping for 2 to 4 s is given up. NATS's client
 * is imported by name, so that a daemon without it does not load it. Not here: the meaning of messages (shared-decisions.ts).
 */
import { readFile } from "node:fs/promises";

import type { NatsConnection, TlsOptions } from "@nats-io/transport-node";

const PING_MS = 2_000;
const RETRY_MS = 500;

/** Where the bus is. */
export interface NatsBusSettings {
  /** `nats://host:4222` or `tls://…`; several by commas. */
  readonly url: string;
  /** The pool's: pickers of one subject share one fleet. */
  readonly subject: string;
  /** A file of NATS credentials (`.creds`); null for none. */
  readonly credentialsFile: string | null;
  /** PEM files; null where the system's authorities count, and where the server asks for no certificate. */
  readonly tls: {
    readonly caFile: string | null;
    readonly certFile: string | null;
    readonly keyFile: string | null;
  };
}

/** Who hears of it. */
export interface NatsBusWatch {
  /** A message of another picker. */
  heard(bytes: Uint8Array): void;
  connected(): void;
  /** The connection is gone, or could not be made. */
  lost(error: Error | null): void;
  /** A message was not sent. */
  unsent(): void;
}

/** See the header. Close it when done. */
export class NatsBus {
  readonly #settings: NatsBusSettings;
  readonly #watch: NatsBusWatch;
  #connection: NatsConnection | null = null;
  #isConnected = false;
  #isClosed = false;
  #retry: NodeJS.Timeout | null = null;
  #dropped = 0;

  /** Begins to connect; never throws. */
  constructor(settings: NatsBusSettings, watch: NatsBusWatch) {
    this.#settings = settings;
    this.#watch = watch;
    void this.#connect();
  }

  /** Messages that were not sent, because NATS was away. */
  get dropped(): number {
    return this.#dropped;
  }

  /** Sends a message to the other pickers; it may be lost. */
  publish(bytes: Uint8Array): void {
    if (this.#connection === null || !this.#isConnected) {
      this.#drop();
      return;
    }
    try {
      this.#connection.publish(this.#settings.subject, bytes);
    } catch {
      // It was closed in this moment, or takes no message of this length.
      this.#drop();
    }
  }

  #drop(): void {
    this.#dropped += 1;
    this.#watch.unsent();
  }

  /** Ends the connection. Nothing is heard afterwards. */
  async close(): Promise<void> {
    this.#isClosed = true;
    if (this.#retry !== null) clearTimeout(this.#retry);
    this.#isConnected = false;
    await this.#connection?.close();
  }

  async #connect(): Promise<void> {
    const { url, subject, credentialsFile, tls } = this.#settings;
    try {
      const { connect, credsAuthenticator } = await import("@nats-io/transport-node");
      const authenticator =
        credentialsFile === null
          ? {}
          : { authenticator: credsAuthenticator(await readFile(credentialsFile)) };
      const connection = await connect({
        servers: url.split(",").map((server) => server.trim()),
        name: "kvsync-picker",
        noEcho: true,
        reconnect: false,
        pingInterval: PING_MS,
        maxPingOut: 2,
        timeout: PING_MS,
        ...authenticator,
        ...(await tlsOf(tls)),
      });
      if (this.#isClosed) {
        await connection.close();
        return;
      }
      this.#connection = connection;
      connection.subscribe(subject, {
        callback: (error, message) => {
          if (error === null && !this.#isClosed) this.#watch.heard(message.data);
        },
      });
      this.#isConnected = true;
      this.#watch.connected();
      void connection.closed().then((error) => {
        this.#again(error instanceof Error ? error : null);
      });
    } catch (error) {
      this.#again(error instanceof Error ? error : new Error(String(error)));
    }
  }

  /** Our own loop instead of the client's: what is published meanwhile is not kept for later. */
  #again(error: Error | null): void {
    this.#isConnected = false;
    this.#connection = null;
    if (this.#isClosed) return;
    this.#watch.lost(error);
    this.#retry = setTimeout(() => void this.#connect(), RETRY_MS);
  }
}

/** The client's option for these files; none where there is no file, so that the server's URL decides. */
async function tlsOf({ caFile, certFile, keyFile }: NatsBusSettings["tls"]): Promise<{ tls?: TlsOptions }> {
  if (caFile === null && certFile === null) return {};
  const read = async (file: string | null): Promise<string | undefined> =>
    file === null ? undefined : readFile(file, "utf8");
  const [ca, cert, key] = await Promise.all([read(caFile), read(certFile), read(keyFile)]);
  return {
    tls: {
      ...(ca !== undefined && { ca }),
      ...(cert !== undefined && { cert }),
      ...(key !== undefined && { key }),
    },
  };
}
