/**
 * A stand-in for the daemon: it serves the built page with the daemon's headers, and a stream that a test writes.
 *
 * It speaks the format of the real stream. So a test can show states that a real fleet reaches rarely: a thousand engines, every
 * trust, a lost message.
 */
import { readFileSync } from "node:fs";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";

import type { FleetScript } from "./fleet-script.ts";
import {
  type Day,
  eventBatch,
  indexAnswer,
  logsAnswer,
  pickerAnswer,
  systemAnswer,
} from "./scripted-answers.ts";

const DIST = fileURLToPath(new URL("../../dashboard/dist/", import.meta.url));

const TYPES: Readonly<Record<string, string>> = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".svg": "image/svg+xml",
};

/** The headers of every file of the page. */
export const PAGE_HEADERS: Readonly<Record<string, string>> = {
  "content-security-policy":
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'",
  "x-content-type-options": "nosniff",
  "referrer-policy": "no-referrer",
  "cross-origin-opener-policy": "same-origin",
};

/** How the stand-in behaves. */
export interface StandInOptions {
  readonly fleet: FleetScript;
  /** Path in front of everything, such as `/some/prefix`. */
  readonly prefix?: string;
  /** Scopes by token; without it no token is asked for. */
  readonly tokens?: Readonly<Record<string, "read" | "none">>;
  /** Scope of the caller that `whoami` names; admin where no token is asked for, else read, unless stated. */
  readonly scope?: "read" | "admin";
  /** What the answers beside the stream tell of; a bad day unless told. */
  readonly day?: Day;
}

/** What a change of silences is answered with, and what is sent to the stream then. */
export type SilenceAnswer = (method: string, body: unknown) => { status: number; body: unknown };

/** The server. */
export class StandIn {
  readonly fleet: FleetScript;
  /** Every request that arrived: method and address. */
  readonly requests: string[] = [];
  /** Bodies of lookups. */
  readonly lookups: unknown[] = [];
  /** Silences that were wanted: method, and the body or the id. */
  readonly silences: (readonly [string, unknown])[] = [];
  /** Answers them. */
  silenceAnswer: SilenceAnswer = () => ({ status: 201, body: { silence_id: "1" } });
  readonly #options: StandInOptions;
  readonly #server: Server;
  readonly #streams = new Set<ServerResponse>();
  /** Streams of one engine's events. */
  readonly #watches = new Set<ServerResponse>();
  #level = { level: 1, configured_level: 1, until: null as string | null };
  #port = 0;

  constructor(options: StandInOptions) {
    this.#options = options;
    this.fleet = options.fleet;
    this.#server = createServer((request, response) => {
      this.#answer(request, response);
    });
  }

  /** The page's address. */
  get page(): string {
    return `http://127.0.0.1:${this.#port}${this.#options.prefix ?? ""}/dashboard/`;
  }

  /** Open streams. */
  get viewers(): number {
    return this.#streams.size;
  }

  /** Listens; on the same port as before after a {@link stop}. */
  async start(): Promise<this> {
    await new Promise<void>((resolve) => {
      this.#server.listen(this.#port, "127.0.0.1", resolve);
    });
    this.#port = (this.#server.address() as AddressInfo).port;
    return this;
  }

  /** Ends every connection and stops listening. */
  async stop(): Promise<void> {
    this.#streams.clear();
    this.#watches.clear();
    await new Promise<void>((resolve) => {
      this.#server.close(() => {
        resolve();
      });
      this.#server.closeAllConnections();
    });
  }

  /** Sends an event to every viewer. */
  send(event: string, body: unknown): void {
    for (const stream of this.#streams) write(stream, event, body);
  }

  /** Lets a second pass, and sends what changed. */
  tick(): void {
    this.send("delta", this.fleet.next());
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    const { prefix = "", tokens } = this.#options;
    const url = new URL(request.url ?? "/", "http://stand-in");
    this.requests.push(`${request.method ?? ""} ${request.url ?? ""}`);
    if (!url.pathname.startsWith(prefix)) {
      problem(response, 404, "not_found", "No such route");
      return;
    }
    const path = url.pathname.slice(prefix.length);
    if (path.startsWith("/dashboard/")) {
      sendFile(response, path.slice("/dashboard/".length));
      return;
    }
    if (tokens !== undefined) {
      const token = (request.headers.authorization ?? "").replace(/^Bearer /, "");
      const scope = tokens[token];
      if (scope === undefined) {
        problem(response, 401, "invalid_token", "Invalid token");
        return;
      }
      if (scope === "none") {
        problem(response, 403, "missing_scope", "Missing scope");
        return;
      }
    }
    this.#api(path.replace("/api/v1/", ""), request, response);
  }

  #api(path: string, request: IncomingMessage, response: ServerResponse): void {
    if (path === "dashboard/stream") {
      response.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-store" });
      response.on("close", () => this.#streams.delete(response));
      write(response, "hello", this.fleet.hello());
      write(response, "snapshot", this.fleet.snapshot());
      this.#streams.add(response);
    } else if (path === "logs/stream") this.#log(request, response);
    else if (path === "dashboard/history") json(response, this.fleet.history());
    else if (path === "whoami")
      json(response, {
        name: this.#options.tokens === undefined && this.#options.scope === undefined ? null : "operator",
        scope: this.#options.scope ?? (this.#options.tokens === undefined ? "admin" : "read"),
        tokens_in_use: this.#options.tokens !== undefined,
      });
    else if (path.startsWith("alerts/silences")) this.#silence(path, request, response);
    else if (path === "match" || path === "picker/explain") this.#lookUp(path, request, response);
    else if (path.startsWith("engines/")) {
      const [, id = "", events] = path.split("/");
      const engine = this.fleet.engine(decodeURIComponent(id));
      if (engine === null) problem(response, 404, "unknown_engine", "Unknown engine");
      else if (events === "events") this.#watch(response);
      else json(response, engine);
    } else this.#tell(path, request, response);
  }

  /** What the daemon says of itself. */
  #tell(path: string, request: IncomingMessage, response: ServerResponse): void {
    const { fleet } = this;
    const day = this.#options.day ?? "bad";
    const { searchParams } = new URL(request.url ?? "/", "http://stand-in");
    const after = Number(searchParams.get("after") ?? 0);
    if (path === "log-level" && request.method === "PUT") {
      const until = new Date(Date.now() + 60_000).toISOString();
      body(request, (sent) => {
        this.#level = { ...this.#level, ...(sent as object), until };
        json(response, this.#level);
      });
      return;
    }
    const answers: Readonly<Record<string, () => unknown>> = {
      "log-level": () => this.#level,
      index: () => indexAnswer(fleet, day),
      system: () => systemAnswer(fleet, day),
      logs: () => logsAnswer(fleet, day, after),
      picker: () => pickerAnswer(fleet, day),
      "dashboard/ranks": () => fleet.hours((searchParams.get("slots") ?? "").split(",").map(Number)),
    };
    const answer = answers[path]?.() ?? null;
    if (answer !== null) json(response, answer);
    else if (path === "picker") problem(response, 503, "picker_off", "Picker is off");
    else problem(response, 404, "not_found", "No such route");
  }

  #log(request: IncomingMessage, response: ServerResponse): void {
    const { searchParams } = new URL(request.url ?? "/", "http://stand-in");
    const answer = logsAnswer(this.fleet, this.#options.day ?? "bad", Number(searchParams.get("after")));
    response.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-store" });
    write(response, "hello", { last: 0, now: this.fleet.at });
    write(response, "lines", { ...(answer as object), left_out: 0 });
  }

  #watch(response: ServerResponse): void {
    response.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-store" });
    response.on("close", () => this.#watches.delete(response));
    write(response, "hello", { engine: "", dp_rank: 0, now: this.fleet.at });
    this.#watches.add(response);
  }

  /** Sends events to every viewer of an engine. */
  sendEvents(first: number): void {
    for (const stream of this.#watches) write(stream, "events", eventBatch(this.fleet, first));
  }

  /** Viewers of an engine's events. */
  get watches(): number {
    return this.#watches.size;
  }

  #silence(path: string, request: IncomingMessage, response: ServerResponse): void {
    const { method = "" } = request;
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      const text = Buffer.concat(chunks).toString();
      const about: unknown = method === "POST" ? JSON.parse(text) : path.split("/").at(-1);
      this.silences.push([method, about]);
      const { status, body } = this.silenceAnswer(method, about);
      response.writeHead(status, { "content-type": "application/json" });
      response.end(status === 204 ? undefined : JSON.stringify(body));
    });
  }

  #lookUp(path: string, request: IncomingMessage, response: ServerResponse): void {
    body(request, (sent) => {
      this.lookups.push(sent);
      json(response, path === "match" ? this.fleet.match() : this.fleet.explain());
    });
  }
}

function body(request: IncomingMessage, take: (sent: unknown) => void): void {
  const chunks: Buffer[] = [];
  request.on("data", (chunk: Buffer) => chunks.push(chunk));
  request.on("end", () => {
    take(JSON.parse(Buffer.concat(chunks).toString()));
  });
}

function write(stream: ServerResponse, event: string, body: unknown): void {
  stream.write(`event: ${event}\ndata: ${JSON.stringify(body)}\n\n`);
}

function json(response: ServerResponse, body: unknown): void {
  response.writeHead(200, { "content-type": "application/json", "cache-control": "no-store" });
  response.end(JSON.stringify(body));
}

function problem(response: ServerResponse, status: number, code: string, title: string): void {
  response.writeHead(status, { "content-type": "application/problem+json" });
  response.end(JSON.stringify({ title, status, code, detail: "" }));
}

function sendFile(response: ServerResponse, name: string): void {
  const path = normalize(join(DIST, name === "" ? "index.html" : name));
  const type = TYPES[extname(path)];
  if (!path.startsWith(DIST) || type === undefined) {
    problem(response, 404, "not_found", "No such file");
    return;
  }
  try {
    const body = readFileSync(path);
    response.writeHead(200, { ...PAGE_HEADERS, "content-type": type });
    response.end(body);
  } catch {
    problem(response, 404, "not_found", "No such file");
  }
}
