/**
 * The address of a Kubernetes API server, and the credentials for it.
 *
 *     service account   KUBERNETES_SERVICE_HOST, _PORT; token, ca.crt, namespace: three files, read at each request
 *     kubeconfig        YAML, checked here ─▶ @kubernetes/client-node ─▶ certificates, token, exec plugins, proxies; tokenFile read here
 *
 * Invariants
 *  C1  No message repeats any part of a credential. That includes lines of a broken file, a
 *      plugin's output and a user in an address.
 *  C2  Every fault of credentials is an ApiError `credentials` that names the file and the field;
 *      nothing else is thrown.
 *  C3  A token is sent without the white space around it. One that no header can carry is an error.
 *
 * In a pod nothing but three files is needed, so the official client (20 MB, half a second) is loaded for a kubeconfig only. It stays for
 * what is tedious: exec plugins, auth providers, proxies.
 */

import { readFile } from "node:fs/promises";
import type { OutgoingHttpHeaders } from "node:http";
import { isIPv6 } from "node:net";
import type { RequestOptions } from "node:https";
import { dirname, isAbsolute, join } from "node:path";
import { createSecureContext } from "node:tls";

import type { KubeConfig } from "@kubernetes/client-node";
import { parse, YAMLParseError } from "yaml";
import { z } from "zod";

import { ApiError } from "./api-error.ts";

/** Where a pod's service account is mounted. */
const SERVICE_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount";
const DEFAULT_NAMESPACE = "default";
/** What a header can carry (RFC 9110), without the white space that HTTP would take from its ends. */
const HEADER_VALUE = /^[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?$/;

/** An API server as one account sees it. */
export interface Credentials {
  /** With the path that it is behind, without a user. */
  readonly server: URL;
  /** The namespace that the account is in. */
  readonly namespace: string;
  /**
   * Adds certificates and token to a request.
   *
   * @throws ApiError credentials.
   */
  readonly apply: (options: RequestOptions) => Promise<void>;
}

/** Reads credentials. Rejects with ApiError credentials. */
export type CredentialReader = () => Promise<Credentials>;

const named = z.object({ name: z.string("a name") });
const kubeconfigSchema = z.looseObject({
  "current-context": z.string("the name of a context").min(1, "the name of a context"),
  clusters: z.array(
    named
      .extend({ cluster: z.looseObject({ server: z.string("an address with http:// or https://") }) })
      .loose(),
    "a list of clusters",
  ),
  contexts: z.array(
    named
      .extend({
        context: z.looseObject({
          cluster: z.string("the name of a cluster"),
          user: z.string("the name of a user").nullish(),
          namespace: z.string("a namespace").nullish(),
        }),
      })
      .loose(),
    "a list of contexts",
  ),
  users: z
    .array(
      named.extend({ user: z.looseObject({ tokenFile: z.string("a path").nullish() }).nullish() }).loose(),
    )
    .nullish(),
});

/**
 * Chooses where credentials come from.
 *
 * @param kubeconfig - a file; null for the pod's service account.
 * @returns reads them.
 */
export function credentialReader(kubeconfig: string | null): CredentialReader {
  return kubeconfig === null ? serviceAccount() : kubeconfigFile(kubeconfig);
}

/**
 * The pod's service account.
 *
 * @param folder - where it is mounted.
 * @param environment - of the process.
 * @returns reads it.
 */
export function serviceAccount(
  folder: string = SERVICE_ACCOUNT,
  environment: Readonly<Record<string, string | undefined>> = process.env,
): CredentialReader {
  const fileOf = (name: string): Promise<string> => textOf(join(folder, name));
  return async () => {
    const { KUBERNETES_SERVICE_HOST: host = "", KUBERNETES_SERVICE_PORT: port = "443" } = environment;
    if (host === "")
      throw credentialsError(
        "this process does not run in a pod (KUBERNETES_SERVICE_HOST is not set), and discovery.kubernetes.kubeconfig is not set",
      );
    const server = addressOf(
      `https://${isIPv6(host) ? `[${host}]` : host}:${port}`,
      "KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT",
    );
    // At once, so that an account which is not mounted is said to be so before anything is asked.
    await fileOf("token");
    return {
      server,
      namespace: (await fileOf("namespace").catch(() => "")).trim() || DEFAULT_NAMESPACE,
      apply: async (options) => {
        options.ca = await fileOf("ca.crt");
        options.headers = withAuthorization(options, bearer(await fileOf("token"), join(folder, "token")));
        checkCertificates(options, folder);
      },
    };
  };
}

/**
 * A kubeconfig file, as kubectl takes it.
 *
 * @param path - of the file.
 * @returns reads it.
 */
function kubeconfigFile(path: string): CredentialReader {
  return async () => {
    const fields = fieldsOf(path, await textOf(path));
    const context = fields.contexts.find(({ name }) => name === fields["current-context"])?.context;
    if (context === undefined) throw credentialsError(`${path}: current-context: no context has this name`);
    const cluster = fields.clusters.find(({ name }) => name === context.cluster)?.cluster;
    if (cluster === undefined)
      throw credentialsError(`${path}: its context names a cluster that the file does not have`);
    const server = addressOf(cluster.server, `${path}: the cluster's server`);
    const user = fields.users?.find(({ name }) => name === context.user)?.user;
    const tokenFile = user?.tokenFile ?? null;
    // The client refuses plain HTTP with verification on, which has nothing to verify: `kubectl proxy` is such a server.
    if (server.protocol === "http:") cluster["insecure-skip-tls-verify"] = true;
    const config = await loaded(path, fields);
    return {
      server,
      namespace: context.namespace ?? DEFAULT_NAMESPACE,
      apply: async (options) => {
        const from = tokenFile === null || isAbsolute(tokenFile) ? tokenFile : join(dirname(path), tokenFile);
        const token = from === null ? null : bearer(await textOf(from), from);
        await applied(config, options, path);
        const header = token ?? authorizationOf(options, path);
        if (header !== null) options.headers = withAuthorization(options, header);
        checkCertificates(options, path);
      },
    };
  };
}

async function loaded(path: string, fields: object): Promise<KubeConfig> {
  const { KubeConfig } = await import("@kubernetes/client-node");
  try {
    const config = new KubeConfig();
    // JSON is YAML: what was checked here is what the client reads.
    config.loadFromString(JSON.stringify(fields));
    config.makePathsAbsolute(dirname(path));
    return config;
  } catch (cause) {
    throw credentialsError(`${path}: the Kubernetes client cannot use it (${codeOf(cause)})`, cause);
  }
}

/** C1: what plugins and parsers say may have a token in it. */
async function applied(config: KubeConfig, options: RequestOptions, path: string): Promise<void> {
  try {
    await config.applyToHTTPSOptions(options);
  } catch (cause) {
    const exec = config.getCurrentUser()?.exec as { readonly command?: unknown } | null | undefined;
    const what =
      typeof exec?.command === "string"
        ? `its exec plugin ${JSON.stringify(exec.command)} gave no credentials`
        : "a file or a value that it names cannot be read";
    throw credentialsError(`${path}: ${what} (${codeOf(cause)})`, cause);
  }
}

function fieldsOf(path: string, text: string): z.output<typeof kubeconfigSchema> {
  let document: unknown;
  try {
    document = parse(text);
  } catch (error) {
    // C1: the parser's own message shows the line.
    const at = error instanceof YAMLParseError ? error.linePos?.[0] : undefined;
    const where = at === undefined ? "" : `, line ${at.line}, column ${at.col}`;
    throw credentialsError(`${path}${where}: expected YAML, as kubectl writes it`);
  }
  const result = kubeconfigSchema.safeParse(document);
  if (result.success) return result.data;
  const issue = result.error.issues[0];
  const field = (issue?.path ?? []).map(String).join(".") || "the file";
  throw credentialsError(`${path}: ${field}: expected ${issue?.message ?? "a kubeconfig"}`);
}

function addressOf(text: string, where: string): URL {
  const expected = `${where}: expected an address with http:// or https://`;
  let server: URL;
  try {
    server = new URL(text);
  } catch {
    throw credentialsError(expected);
  }
  if (server.protocol !== "https:" && server.protocol !== "http:") throw credentialsError(expected);
  // C1: the address is shown.
  if (server.username !== "" || server.password !== "")
    throw credentialsError(`${expected} and without a user in it`);
  server.pathname = server.pathname.replace(/\/+$/, "");
  return server;
}

/** C3. */
function bearer(token: string, path: string): string {
  const trimmed = token.trim();
  if (!HEADER_VALUE.test(trimmed)) {
    const found = trimmed === "" ? "is empty" : "has characters that no header can carry";
    throw credentialsError(`${path}: ${found}; expected a token of one line`);
  }
  return `Bearer ${trimmed}`;
}

/** C3: what the client made of a kubeconfig's token. */
function authorizationOf({ headers }: RequestOptions, path: string): string | null {
  const given = Object.entries(headers ?? {}).find(([name]) => name.toLowerCase() === "authorization")?.[1];
  if (given === undefined) return null;
  const trimmed = String(given).trim();
  if (!HEADER_VALUE.test(trimmed))
    throw credentialsError(
      `${path}: its token has characters that no header can carry; expected a token of one line`,
    );
  return trimmed;
}

function withAuthorization({ headers }: RequestOptions, authorization: string): OutgoingHttpHeaders {
  const kept = Object.entries(headers ?? {}).filter(([name]) => name.toLowerCase() !== "authorization");
  return { ...(Object.fromEntries(kept) as OutgoingHttpHeaders), authorization };
}

/** Certificates and keys as TLS will take them: a pair of which one half was rotated is found here, before a socket is. */
function checkCertificates({ ca, cert, key, passphrase }: RequestOptions, where: string): void {
  try {
    createSecureContext({ ca, cert, key, passphrase });
  } catch (cause) {
    const expected = "expected PEM, and a key that belongs to its certificate";
    throw credentialsError(
      `${where}: certificates or key cannot be used (${codeOf(cause)}); ${expected}`,
      cause,
    );
  }
}

async function textOf(path: string): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch (cause) {
    throw credentialsError(`${path}: cannot be read (${codeOf(cause)})`, cause);
  }
}

/** C1: the code of an error, or its name; never its message. */
function codeOf(error: unknown): string {
  if (!(error instanceof Error)) return "unknown error";
  return "code" in error ? String(error.code) : error.name;
}

function credentialsError(what: string, cause?: unknown): ApiError {
  const message = `Kubernetes credentials cannot be used: ${what}`;
  return new ApiError({ code: "credentials", server: "" }, message, { cause });
}
