/**
 * Requests to the daemon: addresses relative to the page, the token, and errors in one form.
 *
 * The token is kept in this tab's `sessionStorage` and sent in a header: never in an address, a text or a log.
 */
import { signal } from "@preact/signals";

const TOKEN_KEY = "kvsync.token";

/** An answer that is no success, or none at all (`status` 0). */
export class ApiError extends Error {
  readonly status: number;
  /** The problem document's code; empty without one. */
  readonly code: string;
  readonly title: string;
  readonly detail: string;

  constructor(status: number, code: string, title: string, detail: string) {
    super(`${status} ${code}`);
    this.status = status;
    this.code = code;
    this.title = title;
    this.detail = detail;
  }
}

/** The token in use; null without one. */
export const token = signal<string | null>(sessionStorage.getItem(TOKEN_KEY));

/** Instances that answered, other than that of the stream: set by {@link request}. */
export const otherInstance = signal<string | null>(null);

/** The instance of the stream. */
export const streamInstance = signal<string | null>(null);

/** Takes a token, or forgets the one in use. */
export function setToken(value: string | null): void {
  if (value === null) sessionStorage.removeItem(TOKEN_KEY);
  else sessionStorage.setItem(TOKEN_KEY, value);
  token.value = value;
}

/** The address of a path below `/api/v1/`, under whatever prefix the page is served. */
export function apiUrl(path: string): URL {
  return new URL(`../api/v1/${path}`, document.baseURI);
}

/**
 * Sends a request with the token.
 *
 * @param init - of the request; an `authorization` of its own goes before the token.
 */
export async function send(path: string, init: RequestInit = {}): Promise<Response> {
  const headers = new Headers(init.headers);
  if (token.value !== null && !headers.has("authorization"))
    headers.set("authorization", `Bearer ${token.value}`);
  // No cookies, so no request of another site can act as this page.
  const response = await fetch(apiUrl(path), { ...init, headers, credentials: "omit", cache: "no-store" });
  const instance = response.headers.get("x-kvsync-instance");
  if (instance !== null && streamInstance.value !== null && instance !== streamInstance.value)
    otherInstance.value = instance;
  return response;
}

/**
 * Asks for JSON.
 *
 * @param expected - `nothing` for a route that answers without a body.
 * @throws ApiError when the answer is no success, or there is none.
 */
export async function ask<Answer>(
  path: string,
  init: RequestInit = {},
  expected: "json" | "nothing" = "json",
): Promise<Answer> {
  const response = await send(path, init).catch((error: unknown) => {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new ApiError(0, "unreachable", "", "");
  });
  if (!response.ok) throw await problemOf(response);
  return (expected === "json" ? await response.json() : undefined) as Answer;
}

/** Sends a body as JSON and asks for JSON. */
export function post<Answer>(path: string, body: unknown): Promise<Answer> {
  return ask<Answer>(path, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  });
}

/** What an answer without success says. */
export async function problemOf(response: Response): Promise<ApiError> {
  const body = (await response.json().catch(() => ({}))) as Readonly<Record<string, unknown>>;
  const text = (value: unknown): string => (typeof value === "string" ? value : "");
  const title = text(body["title"]);
  return new ApiError(
    response.status,
    text(body["code"]),
    title === "" ? `HTTP ${response.status}` : title,
    text(body["detail"]),
  );
}
