/**
 * The list of engines in the configuration file, read again when the file changes.
 *
 *     directory's watch ─┐
 *                        ├─▶ content's digest differs from the last one looked at, and is the same a moment later ─▶ read ─▶ engines
 *     slow clock ────────┘                                                                                            └──▶ stale: the old list holds
 *
 * Both triggers are needed because neither suffices. A ConfigMap's file is a link through a
 * directory that is swapped as a whole. A watch on the directory fires; a watch on the file's own
 * inode does not. Network file systems and exhausted inotify instances report nothing: the clock
 * detects the change then. The digest is of the content read through all links, so it does not
 * matter how the content came there. The file is read twice because an editor that truncates and
 * writes leaves a valid file that lacks engines for a moment.
 *
 * Only the engines are taken. Other settings that changed are named in the log: they wait for a restart.
 */

import { createHash } from "node:crypto";
import { type FSWatcher, watch } from "node:fs";
import { readFile } from "node:fs/promises";
import { dirname } from "node:path";

import type { WriteEvent } from "../log/log-line.ts";
import { SettingsError } from "../settings/settings-error.ts";
import type { Settings } from "../settings/settings.ts";
import type { EngineSources, StatedEngine } from "./engine-sources.ts";
import type { SourceStatus } from "./discovery-status.ts";

/** A content counts once it has stayed the same for this long. */
const SETTLE_MS = 200;

/** What the source works with. */
export interface ConfigFileDependencies {
  readonly path: string;
  /** Reads everything again, as at the start. */
  readonly read: () => Settings;
  readonly sources: EngineSources;
  readonly status: SourceStatus;
  readonly log: WriteEvent;
}

/** Watches one configuration file. */
export class ConfigFileSource {
  readonly #dependencies: ConfigFileDependencies;
  readonly #pollMs: number;
  #settings: Settings;
  /** Of the content that was last acted on, for better or worse; null at first, so that what changed since the start is not missed. */
  #digest: string | null = null;
  /** Of another content, seen once. */
  #candidate: string | null = null;
  #watcher: FSWatcher | null = null;
  #timer: NodeJS.Timeout | null = null;
  #settling: NodeJS.Timeout | null = null;
  #stopped = false;

  /**
   * @param settings - as read at the start.
   * @param pollMs - time between two looks that nothing asked for.
   * @param dependencies - the file, and who hears.
   */
  constructor(settings: Settings, pollMs: number, dependencies: ConfigFileDependencies) {
    this.#settings = settings;
    this.#pollMs = pollMs;
    this.#dependencies = dependencies;
  }

  /** States the engines read at the start, and looks for changes from now on. */
  start(): void {
    const { path, log } = this.#dependencies;
    this.#state();
    try {
      this.#watcher = watch(dirname(path), { persistent: false }, () => {
        this.#lookSoon();
      });
      this.#watcher.on("error", (error) => {
        this.#watchFailed(error);
      });
    } catch (error) {
      this.#watchFailed(error);
    }
    this.#timer = setInterval(() => void this.#look(), this.#pollMs);
    this.#timer.unref();
    log("config_watched", { path });
    void this.#look();
  }

  /** Looks no more. */
  stop(): void {
    this.#stopped = true;
    this.#watcher?.close();
    if (this.#timer !== null) clearInterval(this.#timer);
    if (this.#settling !== null) clearTimeout(this.#settling);
  }

  #watchFailed(error: unknown): void {
    const { path, log } = this.#dependencies;
    this.#watcher?.close();
    this.#watcher = null;
    const reason = error instanceof Error ? error.message : String(error);
    log("config_watch_failed", { path, reason, poll_ms: this.#pollMs });
  }

  #lookSoon(): void {
    if (this.#stopped || this.#settling !== null) return;
    this.#settling = setTimeout(() => {
      this.#settling = null;
      void this.#look();
    }, SETTLE_MS);
    this.#settling.unref();
  }

  async #look(): Promise<void> {
    const { path, status } = this.#dependencies;
    let digest: string;
    try {
      digest = createHash("sha256")
        .update(await readFile(path))
        .digest("hex");
    } catch (error) {
      // Links are swapped and files replaced: away for a moment is no failure yet.
      digest = error instanceof Error ? error.message : String(error);
    }
    if (this.#stopped) return;
    if (digest === this.#digest) {
      this.#candidate = null;
      if (status.failure === null) status.succeeded();
    } else if (digest === this.#candidate) {
      this.#candidate = null;
      this.#digest = digest;
      this.#reload();
    } else {
      this.#candidate = digest;
      this.#lookSoon();
    }
  }

  #reload(): void {
    const { path, read, status, log } = this.#dependencies;
    let settings: Settings;
    try {
      settings = read();
    } catch (error) {
      if (!(error instanceof SettingsError)) throw error;
      const kept = this.#settings.engines.length;
      const message = `the changed configuration is not used, the list of ${kept} engines stays: ${error.message}`;
      status.failed("unusable_settings", message, { path, faults: error.facts.faults.length });
      return;
    }
    const waiting = sectionsThatDiffer(this.#settings, settings).join(", ");
    const isChanged = JSON.stringify(settings.engines) !== JSON.stringify(this.#settings.engines);
    this.#settings = { ...this.#settings, engines: settings.engines };
    this.#state();
    if (isChanged) log("config_reloaded", { path, engines: settings.engines.length });
    if (waiting === "") return;
    const text = `changed settings wait for a restart: ${waiting}`;
    log("config_needs_restart", { path, settings: waiting }, { text });
  }

  #state(): void {
    const { sources, status } = this.#dependencies;
    sources.state("file", statedBy(this.#settings));
    status.succeeded();
  }
}

/**
 * The engines of a reading of the settings, as the source `file` states them.
 *
 * @param settings - any.
 * @returns one per engine, in order.
 */
export function statedBy({ engines }: Settings): StatedEngine[] {
  return engines.map((engine) => ({ engine, incarnation: null }));
}

/** Sections in which two readings differ, engines aside. */
function sectionsThatDiffer(one: Settings, other: Settings): string[] {
  return Object.keys(one).filter((name) => {
    const section = name as keyof Settings;
    return section !== "engines" && JSON.stringify(one[section]) !== JSON.stringify(other[section]);
  });
}
