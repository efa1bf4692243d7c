/**
 * The picker's certificate: made at start, or of files that are read again when they change.
 *
 *     self_signed ─▶ made once ─────────────────────┐
 *     files ─▶ WatchedFiles ─▶ checked ─▶ in use ───┴─▶ the picker's thread
 *                 └─ changed and not usable ─▶ the last good content stays in use, and the log has why
 *
 * Not here: connections (picker-server.ts).
 */

import { hostname } from "node:os";
import { createSecureContext } from "node:tls";

import { SECURITY_METRICS } from "@kvsync/observability/kvsync/security";
import type { Gauge, MetricSlots } from "@kvsync/observability/slots";

import type { WriteEvent } from "../log/log-line.ts";
import { certificateOf, checkTlsFiles, type PemFile } from "../security/tls-files.ts";
import { WatchedFiles } from "../security/watched-files.ts";
import type { PickerSettings } from "../settings/picker-settings.ts";
import { settingsError } from "../settings/settings-error.ts";
import { type SelfSigned, selfSigned } from "./self-signed.ts";

/** What TLS is served with: PEM texts. */
export interface TlsContent {
  readonly cert: string;
  readonly key: string;
  /** Authorities of client certificates; null: every client may connect. */
  readonly ca: string | null;
}

/** The files that settings name. */
type Paths = PickerSettings["tls"];

/** Who hears of changes. */
interface TlsListeners {
  readonly use: (content: TlsContent) => void;
  readonly log: WriteEvent;
  readonly metrics: MetricSlots;
}

/** See the header. */
export class PickerTls {
  /** Null without TLS. */
  #content: TlsContent | null = null;
  readonly #files: WatchedFiles | null;
  #listeners: TlsListeners | null = null;
  #usable: Gauge | null = null;

  /**
   * @param settings - checked.
   * @param nowMs - since the Unix epoch.
   * @throws SettingsError for files that cannot be used.
   */
  constructor({ tls, port }: Pick<PickerSettings, "tls" | "port">, nowMs: number) {
    if (tls.mode === "none" || port === 0) {
      this.#files = null;
      return;
    }
    const made = tls.mode === "self_signed" ? selfSigned(hostname(), nowMs) : null;
    this.#content = made === null ? null : { ...made, ca: null };
    const paths = [tls.cert_file, tls.key_file, tls.client_ca_file].filter((path) => path !== null);
    const told = paths.join(", ");
    this.#files = new WatchedFiles(paths, {
      use: (contents) => {
        this.#content = contentOf(tls, contents, made);
        this.#listeners?.use(this.#content);
      },
      changed: () => {
        this.#tell(true, `${told}: changed, and in use`);
      },
      refused: (error) => {
        this.#tell(false, `${told}: ${messageOf(error)}; the last good content stays in use`);
      },
    });
    try {
      this.#files.load();
    } catch (error) {
      const setting = made === null ? "picker.tls.cert_file" : "picker.tls.client_ca_file";
      const expected = messageOf(error);
      const fault = { code: "unusable_setting", setting, source: told, expected } as const;
      throw settingsError([{ fault, line: `${setting}: ${expected}` }]);
    }
  }

  /** Null without TLS. */
  get content(): TlsContent | null {
    return this.#content;
  }

  /**
   * Looks at the files from now on.
   *
   * @param everyMs - time between two looks.
   * @param listeners - `use` takes each new content.
   */
  watch(everyMs: number, listeners: TlsListeners): void {
    if (this.#files === null) return;
    this.#listeners = listeners;
    this.#usable = listeners.metrics.gauge(SECURITY_METRICS.fileUsable, { file: "picker_tls" });
    this.#usable.set(1);
    this.#files.watch(everyMs);
  }

  /** Looks no more. */
  close(): void {
    this.#files?.close();
  }

  #tell(isUsable: boolean, text: string): void {
    this.#usable?.set(isUsable ? 1 : 0);
    const event = isUsable ? "security_file_reloaded" : "security_file_refused";
    this.#listeners?.log(event, { file: "picker_tls" }, { text });
  }
}

/** Checks what was read, in the order of the paths that there are. */
function contentOf(tls: Paths, contents: readonly Buffer[], made: SelfSigned | null): TlsContent {
  const left = [...contents];
  const take = (path: string | null): PemFile | null =>
    path === null ? null : { path, content: left.shift() ?? Buffer.alloc(0) };
  const [chain, key, ca] = [take(tls.cert_file), take(tls.key_file), take(tls.client_ca_file)];
  if (chain !== null && key !== null) checkTlsFiles(chain, key, ca);
  else if (ca !== null) certificateOf(ca);
  const content = {
    cert: chain?.content.toString() ?? made?.cert ?? "",
    key: key?.content.toString() ?? made?.key ?? "",
    ca: ca?.content.toString() ?? null,
  };
  // What OpenSSL refuses beyond that, it refuses before anything is replaced.
  createSecureContext({ ...content, ca: content.ca ?? undefined });
  return content;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
