/**
 * A running daemon as the tools ask it: over HTTP, with a token where it wants one.
 */

import { readFileSync } from "node:fs";

import { ToolError } from "./tool-error.ts";

/** Longest wait for a daemon to begin its answer. */
const TIMEOUT_MS = 30_000;

/** One daemon. */
export class DaemonApi {
  readonly #url: string;
  readonly #headers: Readonly<Record<string, string>>;

  /**
   * @param url - base, such as http://127.0.0.1:7070.
   * @param tokenFile - file with a bearer token; null for none.
   * @throws ToolError unreadable_file.
   */
  constructor(url: string, tokenFile: string | null) {
    this.#url = url.replace(/\/+$/, "");
    this.#headers = tokenFile === null ? {} : { authorization: `Bearer ${readToken(tokenFile)}` };
  }

  /**
   * Asks with GET.
   *
   * @param path - with query, beginning with a slash.
   * @param accepted - statuses that are an answer; others throw.
   * @returns the answer, its body unread.
   * @throws ToolError unreachable, http_status (with the problem document's own sentence).
   */
  async get(path: string, accepted: readonly number[] = [200]): Promise<Response> {
    const url = `${this.#url}${path}`;
    let response: Response;
    try {
      response = await fetch(url, { headers: this.#headers, signal: AbortSignal.timeout(TIMEOUT_MS) });
    } catch (error) {
      const reason = causeOf(error);
      throw new ToolError(
        { code: "unreachable", endpoint: url, reason },
        `${url}: ${reason}; is a daemon running there?`,
        {
          cause: error,
        },
      );
    }
    if (accepted.includes(response.status)) return response;
    const detail = await detailOf(response);
    throw new ToolError(
      { code: "http_status", url, status: response.status },
      `${url}: answered ${response.status}${detail === "" ? "" : `: ${detail}`}${response.status === 401 ? "; pass --token-file" : ""}`,
    );
  }
}

function readToken(path: string): string {
  try {
    return readFileSync(path, "utf8").trim();
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new ToolError({ code: "unreadable_file", path }, `--token-file ${path}: ${why}`, { cause: error });
  }
}

/** What fetch failed of: its own message says only "fetch failed". */
function causeOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const { cause } = error;
  if (cause instanceof Error && "code" in cause) return String(cause.code);
  return cause instanceof Error ? cause.message : error.message;
}

async function detailOf(response: Response): Promise<string> {
  const text = await response.text();
  try {
    const problem = JSON.parse(text) as { readonly detail?: unknown };
    return typeof problem.detail === "string" ? problem.detail : "";
  } catch {
    return "";
  }
}
