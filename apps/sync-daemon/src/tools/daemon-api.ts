/**
 * A running daemon as the tools ask it: over HTTP or HTTPS, with a token and a client certificate
 * where it wants them.
 *
 * Each failure has a reason in one sentence with the remedy. The sentence is without the address,
 * which its reader adds where it is not there already.
 */

import { readFileSync } from "node:fs";

import { Agent, fetch, type Response } from "undici";
import { z } from "zod";

import { whyUnreadable } from "../settings/unreadable-file.ts";
import { ToolError } from "./tool-error.ts";

/** Longest wait for a daemon to begin its answer. */
const TIMEOUT_MS = 30_000;
/** What a header can carry. */
const TOKEN = /^[\x21-\x7e]+$/;

/** Where a daemon is when the user does not say: the defaults of http.host and http.port. */
export const DEFAULT_DAEMON_URL = "http://127.0.0.1:7070";

/** How the daemon is asked. Paths of files, null for none. */
export interface DaemonAccess {
  readonly tokenFile: string | null;
  /** Authorities that the daemon's certificate may be signed by; the machine's own without it. */
  readonly caFile: string | null;
  /** Client certificate and its key. */
  readonly certFile: string | null;
  readonly keyFile: string | null;
}

/** One daemon. */
export class DaemonApi {
  /** Base address, without a slash at its end. */
  readonly url: string;
  readonly #access: DaemonAccess;
  readonly #headers: Readonly<Record<string, string>>;
  readonly #agent: Agent;

  /**
   * @param url - base, such as http://127.0.0.1:7070.
   * @param access - token and certificates.
   * @throws ToolError unreadable_file.
   */
  constructor(url: string, access: DaemonAccess) {
    this.url = url.replace(/\/+$/, "");
    this.#access = access;
    const { tokenFile, caFile, certFile, keyFile } = access;
    this.#headers = tokenFile === null ? {} : { authorization: `Bearer ${readToken(tokenFile)}` };
    const connect = {
      ...(caFile === null ? {} : { ca: readText("--ca-file", caFile) }),
      ...(certFile === null ? {} : { cert: readText("--cert-file", certFile) }),
      ...(keyFile === null ? {} : { key: readText("--key-file", keyFile) }),
    };
    this.#agent = new Agent({ connect });
  }

  /**
   * Asks with GET for JSON.
   *
   * @param path - with query, beginning with a slash.
   * @param shape - of the answer.
   * @param accepted - statuses that are an answer; others throw.
   * @returns the answer.
   * @throws ToolError as `get`; unusable_answer for what is no JSON or has another shape.
   */
  async json<Shape extends z.ZodType>(
    path: string,
    shape: Shape,
    accepted?: readonly number[],
  ): Promise<z.output<Shape>> {
    const response = await this.get(path, accepted);
    try {
      return shape.parse(await response.json());
    } catch (error) {
      if (error instanceof z.ZodError || error instanceof SyntaxError)
        throw new ToolError(
          { code: "unusable_answer", url: this.url, reason: FOREIGN },
          `${this.url}: ${FOREIGN}`,
          { cause: error },
        );
      throw error;
    }
  }

  /**
   * Asks with GET.
   *
   * @param path - with query, beginning with a slash.
   * @param accepted - statuses that are an answer; others throw.
   * @returns the answer, its body unread.
   * @throws ToolError daemon_unreachable, http_status (with the problem document's own sentence).
   */
  async get(path: string, accepted: readonly number[] = [200]): Promise<Response> {
    let response: Response;
    try {
      const signal = AbortSignal.timeout(TIMEOUT_MS);
      response = await fetch(`${this.url}${path}`, {
        headers: this.#headers,
        signal,
        dispatcher: this.#agent,
      });
    } catch (error) {
      const code = codeOf(error);
      const reason = whyUnreachable(code, this.url, error);
      throw new ToolError(
        { code: "daemon_unreachable", url: this.url, cause: code, reason },
        `${this.url}: ${reason}`,
        {
          cause: error,
        },
      );
    }
    if (accepted.includes(response.status)) return response;
    const { code, detail } = await problemOf(response);
    const { status } = response;
    const reason = `${path.split("?")[0] ?? path} answered ${status}${detail === "" ? "" : `: ${detail}`}${this.#remedyOf(status, code)}`;
    throw new ToolError(
      { code: "http_status", url: `${this.url}${path}`, status, reason },
      `${this.url}: ${reason}`,
    );
  }

  /** Closes its connections. */
  async close(): Promise<void> {
    await this.#agent.destroy();
  }

  #remedyOf(status: number, code: string): string {
    const { tokenFile } = this.#access;
    if (code === "unknown_route")
      return "; write the address without a path, or the daemon has another version";
    if (status === 401 && tokenFile === null) return "; pass --token-file";
    if (status === 401) return `; the daemon does not know the token in ${tokenFile} (--token-file)`;
    if (status === 403 && tokenFile !== null)
      return `; the token in ${tokenFile} (--token-file) needs another scope`;
    return code === "" ? `; ${FOREIGN}` : "";
  }
}

function readText(option: string, path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    const why = whyUnreadable(error, path);
    throw new ToolError({ code: "unreadable_file", path }, `${option} ${path}: ${why}`, { cause: error });
  }
}

function readToken(path: string): string {
  const token = readText("--token-file", path).trim();
  if (TOKEN.test(token)) return token;
  const why = token === "" ? "is empty" : "has white space or characters that no header can carry";
  throw new ToolError(
    { code: "unreadable_file", path },
    `--token-file ${path}: ${why}; expected one token in one line`,
  );
}

/** What fetch failed of: its own message says only "fetch failed". */
function codeOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const { cause } = error;
  if (!(cause instanceof Error)) return error.name;
  // A parser's error has the code of llhttp, or none.
  if (cause.name === "HTTPParserError") return "HPE_INVALID";
  return "code" in cause && typeof cause.code === "string" ? cause.code : cause.message;
}

const FOREIGN =
  "its answers are not those of a kvsync daemon; another program or another version answers there. Check --url";

const UNTRUSTED =
  "its certificate is not signed by an authority that this machine trusts; pass the authority's certificate with --ca-file";
const PLAIN =
  "it does not speak TLS there; write http:// instead of https://, or give the daemon tls.cert_file";
const WANTS_CERTIFICATE = "it wants a client certificate; pass --cert-file and --key-file";

/** What to do about each error of TLS, by OpenSSL's and Node's codes. */
const TLS_REASONS: Readonly<Record<string, string>> = {
  DEPTH_ZERO_SELF_SIGNED_CERT: UNTRUSTED,
  SELF_SIGNED_CERT_IN_CHAIN: UNTRUSTED,
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: UNTRUSTED,
  UNABLE_TO_GET_ISSUER_CERT: UNTRUSTED,
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: UNTRUSTED,
  CERT_HAS_EXPIRED:
    "its certificate has expired; renew the file of tls.cert_file, which the daemon reads again by itself",
  CERT_NOT_YET_VALID: "its certificate is not valid yet; compare the clocks of both machines",
  ERR_TLS_CERT_ALTNAME_INVALID:
    "its certificate is for other names; write one of them in --url, or add this one to the certificate",
  ERR_SSL_WRONG_VERSION_NUMBER: PLAIN,
  ERR_SSL_PACKET_LENGTH_TOO_LONG: PLAIN,
  ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED: WANTS_CERTIFICATE,
  ERR_SSL_TLSV1_ALERT_UNKNOWN_CA:
    "it does not trust the client certificate in --cert-file; use one that an authority in tls.client_ca_file signed",
  ERR_OSSL_X509_KEY_VALUES_MISMATCH: "--key-file does not have the key of the certificate in --cert-file",
};
const NO_ANSWER = "no answer; check the address, and whether a firewall or a network policy is in between";
const REASONS: Readonly<Record<string, string>> = {
  ECONNREFUSED: "nothing listens there; is a daemon running there, and at this port (http.port)?",
  ENOTFOUND: "there is no host of this name; check --url",
  EAI_AGAIN: "the name server does not answer; check --url",
  EHOSTUNREACH: NO_ANSWER,
  ENETUNREACH: NO_ANSWER,
  ETIMEDOUT: NO_ANSWER,
  UND_ERR_CONNECT_TIMEOUT: NO_ANSWER,
  UND_ERR_HEADERS_TIMEOUT: NO_ANSWER,
  TimeoutError: NO_ANSWER,
};

function whyUnreachable(code: string, url: string, error: unknown): string {
  const known = TLS_REASONS[code] ?? REASONS[code];
  if (known !== undefined) return `${known} (${code})`;
  const isEnded = code === "ECONNRESET" || code === "UND_ERR_SOCKET" || code === "EPIPE";
  if (isEnded && url.startsWith("http:"))
    return `it ended the connection without an answer; does it serve HTTPS? Then write https:// instead of http:// (${code})`;
  if (isEnded)
    return `it ended the connection; ${WANTS_CERTIFICATE.replace("it wants", "does it want")}? (${code})`;
  if (code.startsWith("HPE_"))
    return `it does not speak HTTP there; is it the port of a daemon (http.port)? (${code})`;
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause.message : "";
  return `no request was possible (${code}${cause === "" || cause === code ? "" : `: ${cause}`})`;
}

/** Code and sentence of a problem document; empty for what is none. */
async function problemOf(response: Response): Promise<{ readonly code: string; readonly detail: string }> {
  const text = await response.text();
  try {
    return problemShape.parse(JSON.parse(text));
  } catch {
    return { code: "", detail: "" };
  }
}

const problemShape = z.object({ code: z.string(), detail: z.string() });
