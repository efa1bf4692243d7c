/** A picker's server with a host that keeps books, for tests, and frames of HTTP/2 as bytes. */
import {
  PickerServer,
  type PickerServerOptions,
  type SessionHost,
  type StreamFault,
} from "../picker-server.ts";
import type { Decision, SessionEnd } from "../session.ts";
import { GatewayClient } from "./gateway-client.ts";

/** What its host answers unless told otherwise. */
export const PICK: Decision & { readonly kind: "pick" } = {
  kind: "pick",
  answer: { destination: "10.0.0.1:8000", setHeaders: [], removeHeaders: [], facts: {} },
  leaves: false,
};
const LIMITS = {
  bodyBytes: 1_000_000,
  bufferedBytes: 2_000_000,
  streams: 100,
  connections: 4,
  headersBytes: 96 * 1024,
};
/** A gateway that sends and takes bodies as a stream. */
export const FULL_DUPLEX = { requestBodyMode: 4, responseBodyMode: 4 };

/** What the host heard. */
interface Books {
  readonly ends: SessionEnd[];
  readonly faults: StreamFault[];
  asked: number;
}

/** What differs from an ordinary server. */
export interface ServedOptions {
  readonly limits?: Partial<PickerServerOptions["limits"]>;
  readonly tls?: PickerServerOptions["tls"];
  readonly serves?: PickerServerOptions["serves"];
  readonly host?: Partial<SessionHost>;
}

/** A server that listens. */
export interface ServedPicker {
  readonly server: PickerServer;
  readonly port: number;
  readonly books: Books;
  readonly client: () => GatewayClient;
}

/** Ends what a test has opened, the last first. */
export type Cleanups = (() => Promise<void> | void)[];

/** Starts a server; `cleanups` receives what ends it and its clients. */
export async function servePicker(cleanups: Cleanups, options: ServedOptions = {}): Promise<ServedPicker> {
  const books: Books = { ends: [], faults: [], asked: 0 };
  const host: SessionHost = {
    ask: (session) => {
      books.asked += 1;
      session.decide(PICK);
    },
    served: () => undefined,
    firstToken: () => undefined,
    responseChunk: () => undefined,
    responseTail: () => undefined,
    over: (_session, end) => {
      books.ends.push(end);
    },
    fault: (fault) => {
      books.faults.push(fault);
    },
    health: (service) =>
      service === "" ? "serving" : service === "readiness" ? "not_serving" : "service_unknown",
    ...options.host,
  };
  const tls = options.tls ?? null;
  const server = new PickerServer(
    {
      host: "127.0.0.1",
      port: 0,
      tls,
      serves: options.serves ?? "gateways",
      limits: { ...LIMITS, ...options.limits },
    },
    host,
  );
  const port = await server.listen();
  cleanups.push(() => server.stop());
  const client = (): GatewayClient => {
    const made = new GatewayClient(`${tls === null ? "http" : "https"}://127.0.0.1:${port}`, {
      rejectUnauthorized: false,
    });
    cleanups.push(() => {
      made.close();
    });
    return made;
  };
  return { server, port, books, client };
}

/** HTTP/2 as bytes: a client would not send what this server is to refuse. */
export function frame(type: number, flags: number, stream: number, payload: readonly number[]): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head.writeUInt8(type, 3);
  head.writeUInt8(flags, 4);
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, Buffer.from(payload)]);
}
