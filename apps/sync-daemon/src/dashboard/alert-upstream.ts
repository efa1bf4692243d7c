/**
 * A server that the daemon asks about alerts: Prometheus or Alertmanager.
 *
 *     fixed path ─▶ GET, POST or DELETE ─▶ status and text, or why there is none
 *
 * Invariants
 *  U1  Only the paths of UPSTREAM_PATHS are asked, and a silence by an id in the form of a UUID. No
 *      text of a caller is part of an address.
 *  U2  An answer takes at most ANSWER_MS and ANSWER_BYTES_MAX.
 *  U3  A redirection is not followed: it could lead anywhere.
 *  U4  The token is in a header only. No message has it.
 */

import { readFileSync } from "node:fs";

import { Agent, request } from "undici";

/** Everything that is asked. */
export const UPSTREAM_PATHS = {
  rules: "/api/v1/rules?type=alert",
  alerts: "/api/v2/alerts",
  silences: "/api/v2/silences",
} as const;

/** The form of a silence's id. */
export const SILENCE_ID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** Longest wait for a whole answer. */
const ANSWER_MS = 2000;
/** Some 50 kB are usual; a server with a thousand rules has one. */
const ANSWER_BYTES_MAX = 4 * 1024 * 1024;

/** How a server is asked. */
export interface UpstreamAccess {
  readonly bearer_token_file: string | null;
  readonly ca_file: string | null;
}

/** An answer, or why there is none. */
export type UpstreamAnswer =
  | { readonly kind: "answered"; readonly status: number; readonly text: string }
  | { readonly kind: "failed"; readonly problem: string };

/** One server. */
export class AlertUpstream {
  readonly #base: string;
  readonly #access: UpstreamAccess;
  #agent: Agent | null = null;
  #ca: string | null = null;

  /**
   * @param base - its base URL.
   * @param access - token and authorities.
   */
  constructor(base: string, access: UpstreamAccess) {
    this.#base = base.replace(/\/+$/, "");
    this.#access = access;
  }

  /**
   * Asks for a list.
   *
   * @param path - which.
   * @returns resolves in any case.
   */
  get(path: keyof typeof UPSTREAM_PATHS): Promise<UpstreamAnswer> {
    return this.#ask("GET", UPSTREAM_PATHS[path], null);
  }

  /**
   * Makes a silence.
   *
   * @param body - as Alertmanager reads it.
   * @returns resolves in any case.
   */
  silence(body: object): Promise<UpstreamAnswer> {
    return this.#ask("POST", UPSTREAM_PATHS.silences, JSON.stringify(body));
  }

  /**
   * Ends a silence.
   *
   * @param id - of the form SILENCE_ID.
   * @returns resolves in any case.
   */
  expire(id: string): Promise<UpstreamAnswer> {
    if (!SILENCE_ID.test(id)) throw new RangeError("the id of a silence is a UUID");
    return this.#ask("DELETE", `/api/v2/silence/${id}`, null);
  }

  /** Closes its connections. */
  async close(): Promise<void> {
    await this.#agent?.destroy();
  }

  async #ask(method: "GET" | "POST" | "DELETE", path: string, body: string | null): Promise<UpstreamAnswer> {
    const signal = AbortSignal.timeout(ANSWER_MS);
    try {
      const answer = await request(`${this.#base}${path}`, {
        method,
        headers: { accept: "application/json", ...this.#authorization(), ...typeOf(body) },
        body,
        signal,
        dispatcher: this.#dispatcher(),
      });
      return { kind: "answered", status: answer.statusCode, text: await answer.body.text() };
    } catch (error) {
      return { kind: "failed", problem: problemOf(error, signal) };
    }
  }

  #authorization(): Readonly<Record<string, string>> {
    const { bearer_token_file: file } = this.#access;
    return file === null ? {} : { authorization: `Bearer ${readFileSync(file, "utf8").trim()}` };
  }

  /** Made again when the file of authorities has changed. */
  #dispatcher(): Agent {
    const { ca_file: file } = this.#access;
    const ca = file === null ? null : readFileSync(file, "utf8");
    if (this.#agent === null || ca !== this.#ca) {
      void this.#agent?.close();
      this.#ca = ca;
      this.#agent = new Agent({
        connections: 2,
        maxResponseSize: ANSWER_BYTES_MAX,
        connect: { timeout: ANSWER_MS, ...(ca === null ? {} : { ca }) },
      });
    }
    return this.#agent;
  }
}

function typeOf(body: string | null): Readonly<Record<string, string>> {
  return body === null ? {} : { "content-type": "application/json" };
}

/** One phrase without an address, which its reader has. */
function problemOf(error: unknown, signal: AbortSignal): string {
  if (signal.aborted) return `no answer within ${ANSWER_MS / 1000} s`;
  const { code, path, message } = error as { code?: string; path?: string; message?: string };
  if (path !== undefined) return `the file ${path} cannot be read (${code ?? ""})`;
  if (code === "UND_ERR_RES_EXCEEDED_MAX_SIZE") return `the answer has more than ${ANSWER_BYTES_MAX} bytes`;
  if (code === "ECONNREFUSED") return "the connection was refused";
  if (code === "ENOTFOUND") return "the name has no address";
  return code ?? message ?? "the request failed";
}
