/**
 * The part of Grafana that the import uses, on loopback. It has folders and dashboards by uid,
 * versions that must match, and the statuses that Grafana's API documents. It answers with the
 * faults that a test lines up.
 */
import { createServer, type IncomingMessage, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";

import type { Json } from "../../json.ts";

/** The token that it takes. */
export const TOKEN = "glsa_test";

/** A dashboard as it was saved. */
export interface Stored {
  dashboard: Record<string, Json> & { uid: string };
  folderUid: string;
}

/** An answer that a test wants instead of the proper one. */
export interface Fault {
  readonly status: number;
  /** Text is sent as it is, as a page. */
  readonly body?: object | string;
  readonly headers?: Record<string, string>;
  /** Ends the connection in the middle of the body. */
  readonly cut?: boolean;
}

/** The part of Grafana that the import uses. */
export class FakeGrafana {
  readonly folders = new Map<string, string>();
  readonly dashboards = new Map<string, Stored>();
  /** Uids of dashboards that come from files there. */
  readonly provisioned = new Set<string>();
  readonly requests: string[] = [];
  /** Whom `/api/health` says to be, and the tokens that it was asked with. */
  health: Fault = { status: 200, body: { database: "ok", version: "12.0.0", commit: "abc" } };
  readonly healthTokens: (string | null)[] = [];
  /** Answers to give instead of the proper ones, first to last. */
  faults: Fault[] = [];
  /** Saves to do and then cut the connection. */
  dropAfterSave = 0;
  readonly #server: Server;

  constructor() {
    this.#server = createServer((request, response) => {
      void this.#answer(request).then(({ status, body = {}, headers, drop, cut }) => {
        if (drop === true) {
          request.socket.destroy();
          return;
        }
        const type = typeof body === "string" ? "text/html" : "application/json";
        const sent = typeof body === "string" ? body : JSON.stringify(body);
        response.writeHead(status, { "content-type": type, "content-length": sent.length, ...headers });
        if (cut === true) response.write(sent.slice(0, 5), () => request.socket.destroy());
        else response.end(sent);
      });
    });
  }

  /**
   *
   */
  async start(): Promise<string> {
    await new Promise<void>((resolve) => this.#server.listen(0, "127.0.0.1", resolve));
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /**
   *
   */
  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async #answer(request: IncomingMessage): Promise<Fault & { readonly drop?: boolean }> {
    const line = `${request.method ?? ""} ${request.url ?? ""}`;
    this.requests.push(line);
    const content = await text(request);
    if (line === "GET /api/health") {
      this.healthTokens.push(request.headers.authorization ?? null);
      return this.health;
    }
    const fault = this.faults.shift();
    if (fault !== undefined) return { body: { message: "fault" }, ...fault };
    if (request.headers.authorization !== `Bearer ${TOKEN}`)
      return { status: 401, body: { message: "Invalid API key" } };
    if (line === "POST /api/folders") {
      const { uid, title } = JSON.parse(content) as { uid: string; title: string };
      if ([...this.folders.values()].includes(title))
        return { status: 412, body: { message: "a folder with the same name exists" } };
      this.folders.set(uid, title);
      return { status: 200, body: { uid, title } };
    }
    if (line === "POST /api/dashboards/db")
      return this.#save(JSON.parse(content) as Stored & { overwrite: boolean });
    const uid = line.split("/").at(-1) ?? "";
    if (line.startsWith("GET /api/folders/")) {
      const title = this.folders.get(uid);
      return title === undefined
        ? { status: 404, body: { message: "folder not found" } }
        : { status: 200, body: { uid, title } };
    }
    const stored = this.dashboards.get(uid);
    if (stored === undefined) return { status: 404, body: { message: "Dashboard not found" } };
    const meta = { folderUid: stored.folderUid, provisioned: this.provisioned.has(uid) };
    return { status: 200, body: { dashboard: stored.dashboard, meta } };
  }

  #save({ dashboard, folderUid }: Stored): Fault & { readonly drop?: boolean } {
    const { uid } = dashboard;
    const version = Number(this.dashboards.get(uid)?.dashboard["version"] ?? 0);
    if (dashboard["version"] !== version)
      return {
        status: 412,
        body: { status: "version-mismatch", message: "The dashboard has been changed by someone else" },
      };
    this.dashboards.set(uid, { dashboard: { ...dashboard, id: 7, version: version + 1 }, folderUid });
    const drop = this.dropAfterSave > 0;
    if (drop) this.dropAfterSave -= 1;
    return { status: 200, body: { uid, version: version + 1, status: "success" }, drop };
  }
}

/** Two dashboards to import. */
export const BOARDS = [
  { uid: "a", title: "Board A", panels: [{ id: 1, title: "One", targets: [{ expr: "up" }] }], tags: ["x"] },
  { uid: "b", title: "Board B", panels: [], tags: [] },
];
