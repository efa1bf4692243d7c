/**
 * The part of Grafana's HTTP API that the import needs, as its documentation has it (developers/http_api, folder and dashboard; Grafana 10 to 13):
 *
 *     GET  /api/health                     200 {database, version}, without a token
 *     GET  /api/folders/{uid}              200 folder | 404
 *     POST /api/folders                    200 folder | 409, 412 exists
 *     GET  /api/dashboards/uid/{uid}       200 {dashboard, meta} | 404
 *     POST /api/dashboards/db              200 {uid, version, url} | 400 | 412 {status} | 422
 *
 * Failures that may pass (429, 502, 503, 504, no connection, no answer in time, half an answer) are
 * retried a few times, with growing delays. A `Retry-After` of seconds is followed, up to a limit.
 * Lasting failures (a redirect, a certificate that is not trusted) are errors that name the
 * request, the cause and the remedy. A 404 counts only from a Grafana, whose answers are JSON. The
 * token is never part of a message.
 */

import type { Json } from "../json.ts";

/** How often a request is tried in all: about seven seconds of patience, longer than a restart behind a proxy needs to answer 503. */
const ATTEMPTS_MAX = 5;
/** Wait before the second attempt; doubled each time. */
const FIRST_WAIT_MS = 500;
/** Longest wait that a server may ask for. */
const WAIT_MAX_MS = 30_000;
/** An answer that takes longer is none. */
const ANSWER_TIMEOUT_MS = 15_000;
/** Most characters of a foreign message that are repeated. */
const DETAIL_LENGTH_MAX = 300;

const PASSING: ReadonlySet<number> = new Set([429, 502, 503, 504]);
const REDIRECTS: ReadonlySet<number> = new Set([301, 302, 303, 307, 308]);
/** How the codes of Node's and OpenSSL's errors about certificates look. */
const CERTIFICATE_ERROR = /CERT|SELF_SIGNED|^ERR_TLS|^UNABLE_TO_/;

/** Why a request failed, for good. */
type GrafanaErrorCode =
  | "unauthorized"
  | "forbidden"
  | "conflict"
  | "rejected"
  | "unavailable"
  | "failed"
  | "unexpected_answer";

/** Facts of a failed request. */
export interface GrafanaErrorFacts {
  readonly code: GrafanaErrorCode;
  /** Method and path. */
  readonly request: string;
  /** Null without an answer. */
  readonly status: number | null;
  /** What the server said, cut to a few lines. */
  readonly detail: string;
}

/** A request to Grafana that failed for good. */
export class GrafanaError extends Error {
  override readonly name = "GrafanaError";
  readonly facts: GrafanaErrorFacts;

  /**
   * @param facts - what failed and how.
   * @param advice - what would help.
   * @param options - `cause`, when another error led here.
   */
  constructor(facts: GrafanaErrorFacts, advice: string, options?: ErrorOptions) {
    const status = facts.status === null ? "no answer" : `status ${facts.status}`;
    super(
      `${facts.request}: ${status}${facts.detail === "" ? "" : ` ("${facts.detail}")`}; ${advice}`,
      options,
    );
    this.facts = facts;
  }
}

/** Who waits between attempts; a test's clock does not really. */
export type Wait = (ms: number) => Promise<void>;

/** A dashboard with what it is known by. */
export interface NamedDashboard {
  readonly uid: string;
  readonly title: string;
  readonly [key: string]: Json;
}

/** A dashboard as Grafana keeps it. */
export interface StoredDashboard {
  readonly dashboard: { readonly [key: string]: Json };
  readonly version: number;
  readonly folderUid: string;
  /** True when it comes from a file there and cannot be saved. */
  readonly isProvisioned: boolean;
}

/** A dashboard to save. */
export interface DashboardSave {
  readonly dashboard: NamedDashboard;
  /** The version that it replaces; 0 for a new one. */
  readonly replaces: number;
  readonly folderUid: string;
  readonly message: string;
}

interface Reply {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
}

interface Answer {
  readonly status: number;
  readonly body: { readonly [key: string]: Json };
}

/** Talks to one Grafana. */
export class GrafanaApi {
  readonly #base: string;
  readonly #token: string;
  readonly #wait: Wait;

  /**
   * @param base - its address, without a slash at the end.
   * @param token - of a service account.
   * @param wait - between attempts.
   */
  constructor(base: string, token: string, wait: Wait) {
    this.#base = base;
    this.#token = token;
    this.#wait = wait;
  }

  /**
   * Confirms that a Grafana answers at the address, before the token goes to it.
   *
   * @throws GrafanaError with code unexpected_answer when something else answers.
   */
  async confirm(): Promise<void> {
    const request = "GET /api/health";
    const { status, body } = await this.#send("GET", "/api/health", undefined, [404], null);
    if (status === 200 && typeof body["database"] === "string") return;
    throw new GrafanaError(
      { code: "unexpected_answer", request, status, detail: "" },
      "expected Grafana's {database, version}; is GRAFANA_URL a Grafana?",
    );
  }

  /**
   * Whether a folder exists.
   *
   * @param uid - of the folder.
   * @returns its title, or null.
   * @throws GrafanaError when the question cannot be answered.
   */
  async folderTitle(uid: string): Promise<string | null> {
    const { status, body } = await this.#send("GET", `/api/folders/${uid}`, undefined, [404]);
    const { title } = body;
    return status === 404 ? null : typeof title === "string" ? title : "";
  }

  /**
   * Makes a folder. One that somebody else has made in the meantime is as good.
   *
   * @param uid - chosen by us.
   * @param title - as people see it.
   * @throws GrafanaError when it cannot be made.
   */
  async createFolder(uid: string, title: string): Promise<void> {
    const { status } = await this.#send("POST", "/api/folders", { uid, title }, [409, 412]);
    if (status === 200 || (await this.folderTitle(uid)) !== null) return;
    throw new GrafanaError(
      { code: "conflict", request: "POST /api/folders", status, detail: title },
      "another folder has this title: rename or remove it",
    );
  }

  /**
   * A dashboard as it is now.
   *
   * @param uid - of the dashboard.
   * @returns null when there is none.
   * @throws GrafanaError when the question cannot be answered.
   */
  async dashboard(uid: string): Promise<StoredDashboard | null> {
    const path = `/api/dashboards/uid/${uid}`;
    const { status, body } = await this.#send("GET", path, undefined, [404]);
    if (status === 404) return null;
    const { dashboard, meta } = body as {
      dashboard?: StoredDashboard["dashboard"];
      meta?: { folderUid?: string; provisioned?: boolean };
    };
    if (dashboard === undefined || typeof dashboard["version"] !== "number")
      throw new GrafanaError(
        { code: "unexpected_answer", request: `GET ${path}`, status, detail: "" },
        "expected {dashboard, meta}; is GRAFANA_URL a Grafana?",
      );
    return {
      dashboard,
      version: dashboard["version"],
      folderUid: meta?.folderUid ?? "",
      isProvisioned: meta?.provisioned === true,
    };
  }

  /**
   * Saves a dashboard, unless somebody else has saved it since `replaces`.
   *
   * @param save - the dashboard and what it replaces.
   * @throws GrafanaError with code conflict when it was changed in between, or its title is taken.
   */
  async saveDashboard({ dashboard, replaces, folderUid, message }: DashboardSave): Promise<void> {
    const body = {
      dashboard: { ...dashboard, id: null, version: replaces },
      folderUid,
      message,
      overwrite: false,
    };
    await this.#send("POST", "/api/dashboards/db", body, []);
  }

  async #send(
    method: "GET" | "POST",
    path: string,
    content: Json | undefined,
    expected: readonly number[],
    token: string | null = this.#token,
  ): Promise<Answer> {
    const request = `${method} ${path}`;
    for (let attempt = 1; ; attempt++) {
      const waitMs = Math.min(FIRST_WAIT_MS * 2 ** (attempt - 1), WAIT_MAX_MS);
      const reply = await this.#try(method, path, content, token).catch((error: unknown) => {
        if (attempt < ATTEMPTS_MAX && !isAboutCertificates(error)) return null;
        throw this.#unreachable(request, error);
      });
      if (reply !== null && !(PASSING.has(reply.status) && attempt < ATTEMPTS_MAX))
        return answerOf(reply, request, expected);
      const asked = Number(reply?.headers.get("retry-after") ?? Number.NaN) * 1000;
      await this.#wait(Number.isFinite(asked) ? Math.min(Math.max(asked, 0), WAIT_MAX_MS) : waitMs);
    }
  }

  /** The body is read here: an answer that breaks off is no answer. */
  async #try(method: string, path: string, content: Json | undefined, token: string | null): Promise<Reply> {
    const response = await fetch(this.#base + path, {
      method,
      headers: {
        accept: "application/json",
        ...(token === null ? {} : { authorization: `Bearer ${token}` }),
        ...(content === undefined ? {} : { "content-type": "application/json" }),
      },
      ...(content === undefined ? {} : { body: JSON.stringify(content) }),
      signal: AbortSignal.timeout(ANSWER_TIMEOUT_MS),
      redirect: "manual",
    });
    return { status: response.status, headers: response.headers, text: await response.text() };
  }

  #unreachable(request: string, error: unknown): GrafanaError {
    const advice = isAboutCertificates(error)
      ? "the certificate there is not trusted: name its authority's file in NODE_EXTRA_CA_CERTS, and the server as the certificate does"
      : `${this.#base} cannot be reached: is GRAFANA_URL right, and Grafana up?`;
    const facts = { code: "unavailable", request, status: null, detail: causesOf(error).join(": ") } as const;
    return new GrafanaError(facts, advice, { cause: error });
  }
}

/** What went wrong, outermost first: fetch itself only says that it failed. */
function causesOf(error: unknown): string[] {
  if (!(error instanceof Error)) return [String(error)];
  const inner = error.cause === undefined ? [] : causesOf(error.cause);
  const code = "code" in error && typeof error.code === "string" ? error.code : "";
  return [error.message === "" ? code : error.message, ...inner].filter((text) => text !== "");
}

function isAboutCertificates(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  const code = "code" in error && typeof error.code === "string" ? error.code : "";
  return CERTIFICATE_ERROR.test(code) || isAboutCertificates(error.cause);
}

function answerOf({ status, headers, text }: Reply, request: string, expected: readonly number[]): Answer {
  const body = objectIn(text);
  if (body !== null && (status === 200 || expected.includes(status))) return { status, body };
  const said =
    body === null
      ? text
      : [body["message"], body["error"]].filter((part) => typeof part === "string").join(": ");
  const isRedirect = REDIRECTS.has(status);
  // Without its query, which may carry what is nobody's business.
  const told = isRedirect ? `to ${headers.get("location")?.split("?")[0] ?? "nowhere"}` : said;
  const detail = told.replace(/\s+/g, " ").slice(0, DETAIL_LENGTH_MAX);
  const reason = typeof body?.["status"] === "string" ? body["status"] : "";
  const { code, advice } = isRedirect ? REDIRECTED : verdict(status, reason);
  throw new GrafanaError({ code, request, status, detail }, advice);
}

const REDIRECTED = {
  code: "unexpected_answer",
  advice:
    "GRAFANA_URL must be the address at which Grafana itself answers: https if it wants that, its sub-path, and no login page before it",
} as const;

function objectIn(text: string): { readonly [key: string]: Json } | null {
  try {
    const json = JSON.parse(text) as Json;
    return typeof json === "object" && json !== null && !Array.isArray(json)
      ? (json as Answer["body"])
      : null;
  } catch {
    // Not JSON: a proxy's page, or no Grafana at all; the caller says so.
    return null;
  }
}

function verdict(status: number, reason: string): { code: GrafanaErrorCode; advice: string } {
  switch (status) {
    case 401:
      return {
        code: "unauthorized",
        advice: "GRAFANA_TOKEN is not valid here: it must be a service account's token that has not expired",
      };
    case 403:
      return {
        code: "forbidden",
        advice:
          "the token's service account may not do this: it needs folders:create, folders:read, dashboards:create and dashboards:write, which the role Editor has",
      };
    case 409:
      return { code: "conflict", advice: "something of the same name exists already" };
    case 412:
      if (reason === "version-mismatch")
        return {
          code: "conflict",
          advice: "the dashboard was saved by another client meanwhile: run the import again",
        };
      if (reason === "name-exists")
        return {
          code: "conflict",
          advice: "the folder has another dashboard of this title: rename or remove it",
        };
      return {
        code: "conflict",
        advice:
          "Grafana refuses to replace what is there; a plugin's or provisioned dashboard must be changed at its source",
      };
    case 400:
    case 422:
      return {
        code: "rejected",
        advice:
          "Grafana does not accept the content: is it older than version 10, or is the dashboard provisioned from a file there?",
      };
    default:
      if (PASSING.has(status))
        return { code: "unavailable", advice: `still so after ${ATTEMPTS_MAX} attempts: try again later` };
      return status >= 500
        ? { code: "failed", advice: "Grafana failed at it: its own log has the cause" }
        : {
            code: "unexpected_answer",
            advice: "is GRAFANA_URL the address of a Grafana, with its sub-path if it has one?",
          };
  }
}
