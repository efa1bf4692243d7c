/**
 * GET requests to a Kubernetes API server: where it is, who we are, and what can go wrong, as one closed set of reasons.
 *
 *   kubeconfig │ service account ──@kubernetes/client-node──▶ address, certificates, token ──▶ node:https ─▶ status, stream of the body
 *
 * The official client is used for what is hard to get right and easy to get wrong: reading credentials in all their forms (files, inline data, exec
 * plugins, a token that is rotated) and making TLS options of them. Its Watch and Informer are not used; docs/decisions/0011 says why. It is loaded
 * only when Kubernetes is asked for, since it costs half a second and 30 MB.
 *
 * Credentials are read anew by `renew`: the client itself looks at a rotated token once a minute, which is up to a minute of refusals.
 */

import { existsSync } from "node:fs";
import { type IncomingMessage, request as httpRequest } from "node:http";
import { request as httpsRequest, type RequestOptions } from "node:https";

import type { KubeConfig } from "@kubernetes/client-node";
import { CodedError } from "@kvsync/core";

/** Where a pod's service account is mounted. */
const TOKEN_FILE = "/var/run/secrets/kubernetes.io/serviceaccount/token";
/** Bytes of a refusal's body that are read for its message. */
const REFUSAL_BYTES_MAX = 16 * 1024;
/** Longest Retry-After that is obeyed; beyond, the server means somebody else. */
const RETRY_AFTER_MS_MAX = 60_000;
/** A dead peer is found by the kernel after this and a few probes, where neither side has anything to say. */
const KEEPALIVE_MS = 15_000;

/** Facts of a request that came to nothing. */
export type ApiFacts =
  | { readonly code: "unreachable" | "timeout" | "disconnected" | "credentials"; readonly server: string }
  | {
      readonly code: "unauthorized" | "forbidden" | "gone" | "throttled" | "server_error" | "refused";
      readonly server: string;
      readonly status: number;
      /** What the server asks to wait; null when it does not. */
      readonly retryAfterMs: number | null;
    }
  | { readonly code: "malformed"; readonly server: string; readonly expected: string }
  | { readonly code: "too_large"; readonly server: string; readonly bytesMax: number };

/** The API server does not answer, or not well. */
export class ApiError extends CodedError<ApiFacts> {}

/** An answer that began with 200. Its body belongs to the caller, who reads it to its end or destroys it. */
export interface ApiAnswer {
  readonly body: IncomingMessage;
}

/** An API server as one account sees it. */
export class ApiServer {
  readonly #kubeconfig: string | null;
  readonly #load: () => KubeConfig;
  #config: KubeConfig;

  private constructor(kubeconfig: string | null, load: () => KubeConfig) {
    this.#kubeconfig = kubeconfig;
    this.#load = load;
    this.#config = load();
  }

  /**
   * Reads address and credentials. Nothing is sent.
   *
   * @param kubeconfig - a file; null for the pod's service account.
   * @returns the server.
   * @throws ApiError credentials.
   */
  static async open(kubeconfig: string | null): Promise<ApiServer> {
    const client = await import("@kubernetes/client-node");
    return new ApiServer(kubeconfig, () => loadConfig(new client.KubeConfig(), kubeconfig));
  }

  /** Its address, for people. */
  get address(): string {
    return this.#config.getCurrentCluster()?.server ?? "";
  }

  /** The namespace that the account is in. */
  get namespace(): string {
    const context = this.#config.getContextObject(this.#config.getCurrentContext());
    return context?.namespace ?? "default";
  }

  /**
   * Reads address and credentials again.
   *
   * @throws ApiError credentials; what was known stays.
   */
  renew(): void {
    this.#config = this.#load();
  }

  /**
   * Asks for something.
   *
   * @param path - from the root, with its query.
   * @param options - how long the headers may take; ends the request and its body when aborted.
   * @returns the answer, when it is 200.
   * @throws ApiError of every code but malformed and too_large.
   */
  async get(
    path: string,
    options: { readonly timeoutMs: number; readonly signal: AbortSignal },
  ): Promise<ApiAnswer> {
    const url = new URL(path, this.address);
    const requestOptions: RequestOptions = {
      method: "GET",
      headers: { accept: "application/json", "user-agent": "kvsync-daemon" },
      signal: options.signal,
    };
    try {
      await this.#config.applyToHTTPSOptions(requestOptions);
    } catch (error) {
      throw credentialsError(this.#kubeconfig, error);
    }
    const answer = await this.#send(url, requestOptions, options.timeoutMs);
    if (answer.statusCode === 200) return { body: answer };
    throw await this.#refusal(answer, options.timeoutMs);
  }

  #send(url: URL, options: RequestOptions, timeoutMs: number): Promise<IncomingMessage> {
    const server = this.address;
    const send = url.protocol === "https:" ? httpsRequest : httpRequest;
    return new Promise((resolve, reject) => {
      const request = send(url, options, resolve);
      const timer = setTimeout(() => {
        const message = `${server} did not begin to answer within ${timeoutMs} ms`;
        request.destroy(new ApiError({ code: "timeout", server }, message));
      }, timeoutMs);
      request.setSocketKeepAlive(true, KEEPALIVE_MS);
      request.once("response", () => {
        clearTimeout(timer);
      });
      request.on("error", (error) => {
        clearTimeout(timer);
        reject(error instanceof ApiError ? error : unreachable(server, error));
      });
      request.end();
    });
  }

  async #refusal(answer: IncomingMessage, timeoutMs: number): Promise<ApiError> {
    const status = answer.statusCode ?? 0;
    const server = this.address;
    const facts = { code: refusalCode(status), server, status, retryAfterMs: retryAfter(answer) } as const;
    // What it says is of interest, but not worth waiting for.
    const timer = setTimeout(() => {
      answer.destroy();
    }, timeoutMs);
    const said = await refusalText(answer);
    clearTimeout(timer);
    return new ApiError(facts, `${server} answered ${status}${said === "" ? "" : `: ${said}`}`);
  }
}

/**
 * Says that a connection to the server broke.
 *
 * @param server - its address.
 * @param cause - what broke it.
 * @returns disconnected.
 */
export function disconnected(server: string, cause: unknown): ApiError {
  return new ApiError({ code: "disconnected", server }, `${server} broke off: ${reasonOf(cause)}`, { cause });
}

/**
 * The reason that a status stands for.
 *
 * @param status - of HTTP, or of a Status object in a watch.
 * @returns the code.
 */
export function refusalCode(status: number) {
  switch (status) {
    case 401:
      return "unauthorized" as const;
    case 403:
      return "forbidden" as const;
    case 410:
      return "gone" as const;
    case 429:
      return "throttled" as const;
    default:
      return status >= 500 ? ("server_error" as const) : ("refused" as const);
  }
}

function loadConfig(config: KubeConfig, kubeconfig: string | null): KubeConfig {
  try {
    if (kubeconfig !== null) config.loadFromFile(kubeconfig);
    else if (process.env["KUBERNETES_SERVICE_HOST"] !== undefined && existsSync(TOKEN_FILE))
      config.loadFromCluster();
    else
      throw new Error(
        "this process does not run in a pod with a service account, and discovery.kubernetes.kubeconfig is not set",
      );
    if (config.getCurrentCluster() === null) throw new Error("no cluster in its current context");
    return config;
  } catch (error) {
    throw credentialsError(kubeconfig, error);
  }
}

function credentialsError(kubeconfig: string | null, cause: unknown): ApiError {
  const from = kubeconfig ?? "the service account";
  const message = `Kubernetes credentials of ${from} cannot be used: ${reasonOf(cause)}`;
  return new ApiError({ code: "credentials", server: "" }, message, { cause });
}

function unreachable(server: string, cause: unknown): ApiError {
  return new ApiError({ code: "unreachable", server }, `${server} cannot be reached: ${reasonOf(cause)}`, {
    cause,
  });
}

function reasonOf(error: unknown): string {
  if (error instanceof AggregateError) return error.errors.map(reasonOf).join("; ");
  return error instanceof Error ? error.message : String(error);
}

function retryAfter(answer: IncomingMessage): number | null {
  const seconds = Number(answer.headers["retry-after"] ?? Number.NaN);
  return Number.isFinite(seconds) && seconds >= 0 ? Math.min(seconds * 1000, RETRY_AFTER_MS_MAX) : null;
}

/** The message of a Status object, or the beginning of whatever was said. */
async function refusalText(answer: IncomingMessage): Promise<string> {
  let text = "";
  try {
    for await (const chunk of answer.setEncoding("utf8")) {
      text += String(chunk);
      if (text.length > REFUSAL_BYTES_MAX) break;
    }
    const { message } = JSON.parse(text) as { readonly message?: unknown };
    return typeof message === "string" ? message : text.slice(0, 200);
  } catch {
    return text.slice(0, 200);
  }
}
