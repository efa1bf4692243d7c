/**
 * Everything outside of the settings that a start depends on: files, folders, certificates,
 * credentials and ports. `--check-config` and `kvsync doctor` report all of it at once.
 *
 *     settings ─┬─▶ tokens, TLS, CURVE, token of a sibling   read as a start reads them; the picker's TLS too
 *               ├─▶ seed that shards share                   read as a start reads it
 *               ├─▶ vocabularies of tokenizer.models         read as a start reads them, probes included
 *               ├─▶ folders of state and snapshots           a file is made and removed; their owner is looked for
 *               ├─▶ Kubernetes credentials                   read; the cluster gets no request
 *               └─▶ http.port, the picker's, those of bind   opened and closed; the picker's by threads at once, too
 *
 * Invariants
 *  I1  Each fault names the setting, the path or address, what is wrong and what was expected. The
 *      path or address stands in it once.
 *  I2  A fault ends no other check.
 *  I3  Nothing is left behind: no folder, no file, no open port.
 *  I4  No line has a part of a key or token.
 *
 * A fault keeps something from working that the settings ask for. A warning may be intended: a port
 * is taken by the daemon that runs with the same settings.
 */

import type { X509Certificate } from "node:crypto";
import { createServer } from "node:net";
import { hostname } from "node:os";
import { createSecureContext } from "node:tls";

import { folderHeld } from "../folder-claim.ts";
import { ApiError } from "../discovery/kubernetes/api-error.ts";
import { credentialReader } from "../discovery/kubernetes/credentials.ts";
import { clientKeysIn, readDialKeys, serverKeyIn } from "../security/curve-keys.ts";
import { certificateOf, keyOf, notItsKey, type PemFile } from "../security/tls-files.ts";
import { TokenList } from "../security/token-list.ts";
import { readSharedSeed } from "../security/shared-seed.ts";
import { readBounded } from "../security/watched-files.ts";
import { filePlan, filesOfEngine } from "../settings/open-files.ts";
import { ownShard } from "../settings/own-shard.ts";
import { SettingsError, type ToldFault } from "../settings/settings-error.ts";
import type { TlsSettings } from "../settings/security-settings.ts";
import type { Settings } from "../settings/settings.ts";
import { openVocabulary, VOCABULARY_EXPECTED, vocabularyFiles } from "../tokenizer/local-encoding.ts";
import { VocabularyError } from "../tokenizer/vocabulary.ts";
import { sharedPortFault } from "../settings/shared-port.ts";
import { whyNotWritable } from "../settings/state-directory.ts";
import { type ListenAddress, listenAddresses, listenFailure } from "../settings/listen-failure.ts";
import { whyUnreadable } from "../settings/unreadable-file.ts";
import { listenOptions } from "../transport/endpoint-address.ts";

/** A certificate that ends sooner is a warning; the alert TlsCertificateExpiring has the same time. */
const EXPIRY_WARNING_DAYS = 14;
const DAY_MS = 86_400_000;
/** Longest wait for an exec plugin of a kubeconfig. */
const CREDENTIALS_MS_MAX = 10_000;
/** What a header can carry as a token. */
const TOKEN = /^[\x21-\x7e]+$/;

/** What the checks found. */
export interface StartReport {
  readonly faults: readonly ToldFault[];
  readonly warnings: readonly string[];
}

/** What is known of the settings. */
export interface StartSettings {
  readonly settings: Settings;
  /** As they were given: a folder of snapshots that is not among them is the platform's. */
  readonly given: Readonly<Record<string, unknown>>;
}

/** Collects faults and warnings (I2). */
class Findings implements StartReport {
  readonly faults: ToldFault[] = [];
  readonly warnings: string[] = [];

  fault(setting: string, source: string, line: string, expected: string): void {
    this.faults.push({
      fault: { code: "unusable_setting", setting, source, expected },
      line: `${setting}: ${line}`,
    });
  }

  /** Reads a file for a setting; null when it cannot be read, which is a fault. */
  file(setting: string, path: string, expected: string): PemFile | null {
    try {
      return { path, content: readBounded(path) };
    } catch (error) {
      this.fault(setting, path, `${path}: ${whyUnreadable(error, path)}; expected ${expected}`, expected);
      return null;
    }
  }

  /** Does what throws for what is wrong. */
  attempt<Result>(setting: string, source: string, expected: string, use: () => Result): Result | null {
    try {
      return use();
    } catch (error) {
      if (error instanceof SettingsError) {
        const [line = ""] = error.message.split("\n");
        this.faults.push(...error.facts.faults.map((fault) => ({ fault, line })));
      } else this.fault(setting, source, messageOf(error), expected);
      return null;
    }
  }
}

/**
 * Looks at the files that a start reads.
 *
 * @param settings - that can be used.
 * @param nowMs - the time that certificates are judged by.
 * @returns everything that is wrong.
 */
export function checkFiles(settings: Settings, nowMs: number): StartReport {
  const findings = new Findings();
  const { tokens_file: tokens } = settings.security;
  if (tokens !== null) {
    const expected = "a YAML file of tokens that this user can read";
    const file = findings.file("security.tokens_file", tokens, expected);
    if (file !== null)
      findings.attempt("security.tokens_file", tokens, expected, () => {
        try {
          return TokenList.parse(file.content.toString("utf8"));
        } catch (error) {
          throw new Error(`${tokens}: ${messageOf(error)}`, { cause: error });
        }
      });
  }
  const { tls, picker } = settings;
  checkTls("tls", tls, findings, nowMs);
  if (picker.enabled === true) checkTls("picker.tls", picker.tls, findings, nowMs);
  checkCurve(settings, findings);
  checkTokenizers(settings, findings);
  const { enabled, models_token_file: modelsToken } = settings.discovery.kubernetes;
  const seed = settings.index.seed_file;
  if (seed !== null) {
    const expected = "a file with a secret that all shards have";
    findings.attempt("index.seed_file", seed, expected, () => readSharedSeed(seed));
  }
  checkToken("snapshot.warm_token_file", settings.snapshot.warm_token_file, findings);
  if (enabled === true) checkToken("discovery.kubernetes.models_token_file", modelsToken, findings);
  checkShare(settings, findings);
  checkShards(settings, findings);
  return findings;
}

/** A file with one token. */
function checkToken(setting: string, path: string | null, findings: Findings): void {
  if (path === null) return;
  const expected = "a file with one token in one line";
  const token = findings.file(setting, path, expected)?.content.toString("utf8").trim();
  if (token === undefined || TOKEN.test(token)) return;
  const found = token === "" ? "is empty" : "has white space or characters that no header can carry";
  findings.fault(setting, path, `${path}: ${found}; expected ${expected}`, expected);
}

/** The shards get no request: a picker decides without those that are away. */
function checkShards({ picker, shard }: Settings, findings: Findings): void {
  if (picker.enabled !== true || shard.count === 1) return;
  const { token_file: token, ca_file: ca } = picker.shards;
  checkToken("picker.shards.token_file", token, findings);
  if (ca === null) return;
  const expected = "a PEM file with certificates";
  const file = findings.file("picker.shards.ca_file", ca, expected);
  if (file === null || /-----BEGIN CERTIFICATE-----/.test(file.content.toString("latin1"))) return;
  findings.fault("picker.shards.ca_file", ca, `${ca}: has no certificate; expected ${expected}`, expected);
}

/** The servers get no request: a picker decides without them while they are away. */
function checkShare({ picker }: Settings, findings: Findings): void {
  const { url, credentials_file: path } = picker.share;
  if (picker.enabled !== true || url === null || path === null) return;
  const expected = "a file of NATS credentials (.creds)";
  const file = findings.file("picker.share.credentials_file", path, expected);
  if (file === null || /-----BEGIN NATS USER JWT-----/.test(file.content.toString("latin1"))) return;
  const line = `${path}: has no NATS USER JWT; expected ${expected}`;
  findings.fault("picker.share.credentials_file", path, line, expected);
}

/**
 * Looks at everything that a start depends on.
 *
 * @param start - settings that can be used.
 * @param looksAt - the ports of a daemon that runs are taken.
 * @param nowMs - the time that certificates are judged by.
 * @returns everything that is wrong.
 */
export async function checkStart(
  { settings, given }: StartSettings,
  looksAt: "files" | "files and ports",
  nowMs: number,
): Promise<StartReport> {
  const findings = new Findings();
  const files = checkFiles(settings, nowMs);
  checkFolders(settings, given, findings);
  checkOpenFiles(settings, findings);
  checkShard(settings, findings);
  await checkCredentials(settings, findings);
  if (looksAt === "files and ports") {
    await checkOwners(settings, findings);
    await checkPorts(settings, findings);
  }
  return {
    faults: [...files.faults, ...findings.faults],
    warnings: [...files.warnings, ...findings.warnings],
  };
}

/** A warning: the settings may be for a pod, and not for this machine. */
function checkShard({ shard }: Settings, findings: Findings): void {
  try {
    ownShard(shard, hostname());
  } catch (error) {
    if (!(error instanceof SettingsError)) throw error;
    findings.warnings.push(error.message);
  }
}

function checkTls(section: string, tls: TlsSettings, findings: Findings, nowMs: number): void {
  const [certSetting, keySetting] = [`${section}.cert_file`, `${section}.key_file`];
  const chainFile = pem(findings, certSetting, tls.cert_file, "a PEM file with the certificate chain");
  const keyFile = pem(findings, keySetting, tls.key_file, "a PEM file with the private key");
  const caFile = pem(
    findings,
    `${section}.client_ca_file`,
    tls.client_ca_file,
    "a PEM file with authorities",
  );
  const certificate = certificateIn(findings, certSetting, chainFile);
  const ca = certificateIn(findings, `${section}.client_ca_file`, caFile);
  const key =
    keyFile === null
      ? null
      : findings.attempt(keySetting, keyFile.path, "a private key in PEM", () => keyOf(keyFile));
  if (certificate !== null && chainFile !== null)
    checkValidity(certSetting, certificate, chainFile.path, findings, nowMs);
  if (certificate === null || key === null || chainFile === null || keyFile === null) return;
  if (!certificate.checkPrivateKey(key)) {
    findings.fault(keySetting, keyFile.path, notItsKey(chainFile, keyFile), "the certificate's key");
    return;
  }
  findings.attempt(certSetting, chainFile.path, "files that OpenSSL can use", () => {
    try {
      const authorities = ca === null ? undefined : caFile?.content;
      createSecureContext({ cert: chainFile.content, key: keyFile.content, ca: authorities });
    } catch (error) {
      // Not as the cause: nothing that came near the key is handed on (I4).
      throw new Error(`${chainFile.path}: OpenSSL cannot use it (${messageOf(error)})`);
    }
  });
}

function pem(findings: Findings, setting: string, path: string | null, expected: string): PemFile | null {
  return path === null ? null : findings.file(setting, path, `${expected} that this user can read`);
}

function certificateIn(findings: Findings, setting: string, file: PemFile | null): X509Certificate | null {
  if (file === null) return null;
  return findings.attempt(setting, file.path, "a certificate in PEM", () => certificateOf(file));
}

function checkValidity(
  setting: string,
  certificate: X509Certificate,
  path: string,
  findings: Findings,
  nowMs: number,
): void {
  const [fromMs, toMs] = [Date.parse(certificate.validFrom), Date.parse(certificate.validTo)];
  const expected = "a certificate that is valid now";
  const wrong = (found: string): void => {
    findings.fault(setting, path, `${path}: ${found}; expected ${expected}`, expected);
  };
  if (toMs <= nowMs) wrong(`expired at ${new Date(toMs).toISOString()}, and callers refuse it`);
  else if (fromMs > nowMs) wrong(`is not valid before ${new Date(fromMs).toISOString()}`);
  else if (toMs - nowMs < EXPIRY_WARNING_DAYS * DAY_MS)
    findings.warnings.push(`${setting}: ${path}: expires at ${new Date(toMs).toISOString()}; renew it`);
}

function checkCurve({ curve }: Settings, findings: Findings): void {
  const { server_key_file: server, client_key_file: client } = curve;
  const expected = "CURVE keys";
  if (client !== null)
    findings.attempt("curve.client_key_file", client, expected, () => clientKeysIn(client));
  if (server === null) return;
  const serverKey = findings.attempt("curve.server_key_file", server, expected, () => serverKeyIn(server));
  // A library without CURVE is found here.
  if (serverKey !== null)
    findings.attempt("curve.server_key_file", server, expected, () =>
      readDialKeys({ server_key_file: server, client_key_file: null }),
    );
}

/** As a start reads them, which takes a second or two for each. */
function checkTokenizers({ tokenizer }: Settings, findings: Findings): void {
  for (const [i, files] of vocabularyFiles(tokenizer.models)) {
    try {
      openVocabulary(files, 0);
    } catch (error) {
      if (!(error instanceof VocabularyError)) throw error;
      const { file } = error.facts;
      const path = file === "tokenizer_file" ? files.tokenizerFile : files.configFile;
      const line = `${path}: ${error.message}; expected ${VOCABULARY_EXPECTED}`;
      findings.fault(`tokenizer.models.${i}.${file}`, path, line, VOCABULARY_EXPECTED);
    }
  }
}

function checkFolders(
  { discovery, snapshot }: Settings,
  given: StartSettings["given"],
  findings: Findings,
): void {
  const expected = "a folder that this user may make and write";
  for (const name of ["state_directory", "shared_directory"] as const) {
    const directory = discovery[name];
    const why = directory === null ? null : whyNotWritable(directory);
    if (directory !== null && why !== null)
      findings.fault(`discovery.${name}`, directory, `${directory}: ${why}; expected ${expected}`, expected);
  }
  if (snapshot.directory === null) return;
  const why = whyNotWritable(snapshot.directory);
  if (why === null) return;
  const named = (given["snapshot"] as { readonly directory?: unknown } | undefined)?.directory;
  const line = `${snapshot.directory}: ${why}`;
  if (named !== undefined && named !== null)
    findings.fault("snapshot.directory", snapshot.directory, `${line}; expected ${expected}`, expected);
  else
    findings.warnings.push(
      `snapshot.directory: ${line}. No snapshots are kept, and a restart loses the index: set snapshot.directory`,
    );
}

/** As with a port that is taken, the owner may be the daemon that runs with these settings. */
async function checkOwners({ discovery, snapshot }: Settings, findings: Findings): Promise<void> {
  const folders = {
    "discovery.state_directory": discovery.state_directory,
    "snapshot.directory": snapshot.directory,
  };
  for (const [setting, folder] of Object.entries(folders)) {
    const held = folder === null ? null : await folderHeld(setting, folder);
    if (held !== null)
      findings.warnings.push(
        `${held.message}. A running daemon with the same settings is a reason; a second one would not use the folder`,
      );
  }
}

/** Ranks beyond the limit are refused one by one at a start. */
function checkOpenFiles(settings: Settings, findings: Findings): void {
  const { engines, callers } = settings;
  const needed = engines.reduce((sum, engine) => sum + filesOfEngine(engine, settings), 0);
  const { engineFiles } = filePlan(callers.connections);
  if (needed > engineFiles)
    findings.warnings.push(
      `engines: the listed engines need ${needed} open files, and the limit on open files (ulimit -n) leaves ${engineFiles} for them. Those beyond are refused: raise the limit`,
    );
}

async function checkCredentials({ discovery, picker }: Settings, findings: Findings): Promise<void> {
  const { enabled, kubeconfig } = discovery.kubernetes;
  const needsPool = picker.enabled === true && picker.pool.name !== null;
  if (enabled !== true && !needsPool) return;
  const asking = enabled === true ? "discovery.kubernetes.enabled" : "picker.pool.name";
  const setting = kubeconfig === null ? asking : "discovery.kubernetes.kubeconfig";
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => {
      reject(new Error(`${kubeconfig}: its credentials took longer than ${CREDENTIALS_MS_MAX / 1000} s`));
    }, CREDENTIALS_MS_MAX);
  });
  try {
    const { apply } = await credentialReader(kubeconfig)();
    await Promise.race([apply({}), late]);
  } catch (error) {
    const more =
      kubeconfig === null && error instanceof ApiError
        ? ". Run it in a pod with a service account, or set discovery.kubernetes.kubeconfig"
        : "";
    findings.fault(
      setting,
      kubeconfig ?? "the pod's service account",
      `${messageOf(error)}${more}`,
      "credentials",
    );
  } finally {
    clearTimeout(timer);
  }
}

async function checkPorts({ http, engines, picker }: Settings, findings: Findings): Promise<void> {
  const all = listenAddresses({ http, picker });
  for (const [i, { bind, ranks }] of engines.entries()) {
    if (!bind) continue;
    for (const { endpoint } of ranks) {
      const at = listenOptions(endpoint);
      if (at !== null) all.push({ setting: `engines.${i}.endpoint`, ...at });
    }
  }
  for (const each of all) tellPort(each, await listenError(each), findings);
  if (picker.enabled !== true || picker.threads === 1 || picker.port === 0) return;
  const found = await sharedPortFault(picker);
  // A port that is taken is told above.
  if (found !== null && !(found instanceof Error)) findings.faults.push(found);
}

/** @returns the code of the error; null when it could be listened at. */
function listenError({ host, port }: ListenAddress): Promise<string | null> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", (error: NodeJS.ErrnoException) => {
      resolve(error.code ?? error.message);
    });
    server.listen({ host, port, exclusive: true }, () => {
      server.close(() => {
        resolve(null);
      });
    });
  });
}

function tellPort(listening: ListenAddress, code: string | null, findings: Findings): void {
  if (code === null) return;
  const { setting, address, what, remedy } = listenFailure(listening, code);
  if (code === "EADDRINUSE") {
    findings.warnings.push(
      `${setting}: ${address} ${what}, and a start would fail. A running daemon with the same settings is a reason; otherwise ${remedy}`,
    );
    return;
  }
  findings.fault(setting, address, `${address}: ${what}; ${remedy}`, remedy.replace("expected ", ""));
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
