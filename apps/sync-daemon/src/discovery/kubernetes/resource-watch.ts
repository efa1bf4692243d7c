/**
 * Keeps the objects of one kind in one namespace up to date: list, watch from there, and recovery from failures.
 *
 *                   ok, or resync is due                     ended in time, bookmark or event seen last
 *      ┌──────────▶ listing ─────────────▶ watching(version) ◀──────────────┐
 *      │               │ ▲                     │  └──────────────────────────┘
 *      │        fails  ▼ │ pause ×2            │ broke off, 5xx, garbage: pause ×2, then watch from the last version
 *      │            (pause)                    │
 *      └── 410 Gone, or garbage at one version again and again
 *
 * Invariants
 *  W1  Objects leave only by a list that lacks them or by a DELETED event. Any failure keeps the known
 *      objects.
 *  W2  After a list and the events since, the set is the server's at one version; events of before that are not applied.
 *  W3  Between two requests is a pause, except after a watch that lasted. The pauses grow while the server fails or drops
 *      at once.
 *  W4  No watch outlives its time by more than a grace, bookmarks or not: a connection that is dead without a word is noticed.
 *
 * The pauses are client-go's (tools/cache/reflector.go: 800 ms to 30 s, doubling, jitter of one). A 401 reads the credentials again and tries
 * at once; the second in a row is a failure like any other.
 */

import { ApiError, type ApiFacts } from "./api-error.ts";
import type { ApiServer } from "./api-server.ts";
import {
  readPage,
  readWatch,
  type Resource,
  type ResourceKind,
  type ResourcePage,
  type WatchEvent,
} from "./resource-stream.ts";

/** Objects per page of a list. */
const PAGE_ITEMS = 500;
/** Objects of one watch; four times the most engines of a registry. More is a selector that matches what it should not. */
const ITEMS_MAX = 16_384;
/** What a watch may last beyond its time. */
const WATCH_GRACE_MS = 15_000;
/** A list of many pages may take this many times what one answer may. */
const LIST_REQUESTS = 4;
/** Watches that break off in a row before that is a failure: single ones are usual when API servers are rolled. */
const BREAKS_MAX = 2;
/** A watch that stands this many shortest pauses, and is as silent as a quiet namespace is, goes well. */
const STEADY_PAUSES = 4;
/** Times that garbage at one version is asked for again before everything is listed anew. */
const GARBAGE_MAX = 2;

/** Times, all in milliseconds. */
export interface WatchTimes {
  /** Until the headers of an answer, and until the end of a list. */
  readonly requestMs: number;
  /** How long the server shall keep one watch open. */
  readonly watchMs: number;
  /** After which everything is listed again, whatever the watches said. */
  readonly resyncMs: number;
  readonly pauseMsMin: number;
  readonly pauseMsMax: number;
}

/** What is watched. */
export interface WatchSettings<Item extends Resource> {
  readonly kind: ResourceKind<Item>;
  /** Null for all namespaces, and for objects that have none. */
  readonly namespace: string | null;
  /** A label selector; null for none. */
  readonly selector: string | null;
  readonly times: WatchTimes;
}

/** Hears of objects and of how the watch does. */
interface WatchListener<Item extends Resource> {
  /** All objects there are. */
  listed(items: ReadonlyMap<string, Item>): void;
  /** The watch is open, or has brought something: the set is up to date. */
  heard(): void;
  /** Something failed; a pause follows. */
  failed(error: ApiError): void;
  /** Something happened that was put right at once. */
  noted(code: ApiFacts["code"]): void;
  /** A request that was answered well. */
  answered(request: "list" | "watch"): void;
}

/** Where jitter comes from. */
export interface WatchDependencies<Item extends Resource> {
  readonly api: ApiServer;
  readonly listener: WatchListener<Item>;
  /** 0 … 1. */
  readonly random: () => number;
}

/** The objects of one kind in one namespace. */
export class ResourceWatch<Item extends Resource> {
  readonly #settings: WatchSettings<Item>;
  readonly #dependencies: WatchDependencies<Item>;
  readonly #signal: AbortSignal;
  readonly #items = new Map<string, Item>();
  /** Where the next watch begins; null when a list has to come first. */
  #version: string | null = null;
  #listedMs = 0;
  #failures = 0;
  #garbage = 0;
  /** In a row, without a watch that went well between. */
  #gone = 0;
  #hasRenewed = false;
  /** The watch that is under way, or that ended last, was answered well. */
  #wasOpen = false;

  /**
   * @param settings - what to watch.
   * @param dependencies - the server, and who hears.
   * @param signal - ends it.
   */
  constructor(settings: WatchSettings<Item>, dependencies: WatchDependencies<Item>, signal: AbortSignal) {
    this.#settings = settings;
    this.#dependencies = dependencies;
    this.#signal = signal;
  }

  /**
   * Watches until it is told to end.
   *
   * @returns resolves when nothing of it is open any more. Never rejects but for our own mistakes.
   */
  async run(): Promise<void> {
    while (!this.#hasEnded()) {
      let pauseMs: number;
      try {
        pauseMs = await this.#step();
      } catch (error) {
        if (this.#hasEnded()) return;
        if (!(error instanceof ApiError)) throw error;
        pauseMs = this.#handle(error);
      }
      await sleep(pauseMs, this.#signal);
    }
  }

  /** One list with one watch, or one watch. Returns the pause after it. */
  async #step(): Promise<number> {
    const { resyncMs } = this.#settings.times;
    if (this.#version === null || performance.now() - this.#listedMs >= resyncMs) await this.#list();
    const beganMs = performance.now();
    await this.#watch();
    this.#watchProgressed();
    // A watch that lasted has earned the next one at once (W3).
    return performance.now() - beganMs >= this.#settings.times.pauseMsMax ? 0 : this.#pause();
  }

  /** Returns the pause after an error. */
  #handle(error: ApiError): number {
    const { listener, api } = this.#dependencies;
    const { facts } = error;
    if (facts.code === "gone") {
      // The version is too old, which is nobody's fault, once; a server that says so of the version it has just given is a fault.
      this.#version = null;
      listener.noted("gone");
      this.#gone += 1;
      return this.#gone === 1 ? 0 : this.#pause(this.#gone);
    }
    if (facts.code === "unauthorized" && !this.#hasRenewed) {
      this.#hasRenewed = true;
      listener.noted("unauthorized");
      api.renew();
      return 0;
    }
    this.#hasRenewed = false;
    if (facts.code === "malformed" || facts.code === "too_large") {
      this.#garbage += 1;
      if (this.#garbage > GARBAGE_MAX) this.#version = null;
    }
    if (this.#wasOpen && this.#failures < BREAKS_MAX) listener.noted(facts.code);
    else listener.failed(error);
    const asked = "retryAfterMs" in facts ? (facts.retryAfterMs ?? 0) : 0;
    return Math.max(this.#failedPause(), asked);
  }

  #hasEnded(): boolean {
    return this.#signal.aborted;
  }

  #failedPause(): number {
    this.#failures += 1;
    return this.#pause();
  }

  #pause(failures: number = this.#failures): number {
    const { pauseMsMin, pauseMsMax } = this.#settings.times;
    const base = Math.min(pauseMsMax, pauseMsMin * 2 ** Math.max(0, failures - 1));
    return base * (1 + this.#dependencies.random());
  }

  /** It goes well: the next failure is the first. */
  #progressed(): void {
    this.#failures = 0;
    this.#garbage = 0;
    this.#hasRenewed = false;
    this.#dependencies.listener.heard();
  }

  #watchProgressed(): void {
    this.#gone = 0;
    this.#progressed();
  }

  async #list(): Promise<void> {
    const { api, listener } = this.#dependencies;
    const items = new Map<string, Item>();
    this.#wasOpen = false;
    const overdue = deadline(this.#signal, this.#settings.times.requestMs * LIST_REQUESTS);
    let version = "";
    let more: string | null = null;
    try {
      do {
        const query: Record<string, string> = { limit: String(PAGE_ITEMS) };
        if (more !== null) query["continue"] = more;
        const page = await this.#page(query, overdue.signal);
        for (const item of page.items) items.set(item.id, item);
        if (items.size > ITEMS_MAX) {
          const facts = { code: "too_large", server: api.address, bytesMax: ITEMS_MAX } as const;
          throw new ApiError(
            facts,
            `more than ${ITEMS_MAX} ${this.#settings.kind.noun} match ${this.#settings.selector ?? "no selector"}`,
          );
        }
        for (let i = 0; i < page.unreadable; i++) listener.noted("malformed");
        ({ resourceVersion: version, more } = page);
      } while (more !== null);
    } catch (error) {
      throw overdue.isOver ? this.#timeout("list", error) : error;
    } finally {
      overdue.clear();
    }
    this.#items.clear();
    for (const [id, item] of items) this.#items.set(id, item);
    this.#version = version;
    this.#listedMs = performance.now();
    listener.answered("list");
    listener.listed(this.#items);
    this.#progressed();
  }

  async #page(query: Record<string, string>, signal: AbortSignal): Promise<ResourcePage<Item>> {
    const { api } = this.#dependencies;
    const { body } = await api.get(this.#path(query), { timeoutMs: this.#settings.times.requestMs, signal });
    return readPage(body, api.address, this.#settings.kind);
  }

  async #watch(): Promise<void> {
    const { api, listener, random } = this.#dependencies;
    const { requestMs, pauseMsMin } = this.#settings.times;
    // Not all at one time, where replicas began together.
    const watchMs = this.#settings.times.watchMs * (1 + random());
    const query = {
      watch: "true",
      allowWatchBookmarks: "true",
      resourceVersion: this.#version ?? "",
      timeoutSeconds: String(Math.max(1, Math.round(watchMs / 1000))),
    };
    this.#wasOpen = false;
    const overdue = deadline(this.#signal, watchMs + Math.min(WATCH_GRACE_MS, watchMs));
    let steady: NodeJS.Timeout | undefined;
    try {
      const { body } = await api.get(this.#path(query), { timeoutMs: requestMs, signal: overdue.signal });
      this.#wasOpen = true;
      listener.answered("watch");
      if (this.#failures === 0) listener.heard();
      else steady = setTimeout(this.#watchProgressed.bind(this), STEADY_PAUSES * pauseMsMin);
      for await (const events of readWatch(body, api.address, this.#settings.kind)) this.#take(events);
    } catch (error) {
      // A server that never ends a watch is no failure: it is ended here, and the next one goes on.
      if (this.#wasOpen && overdue.isOver && !this.#hasEnded()) return;
      throw error;
    } finally {
      clearTimeout(steady);
      overdue.clear();
    }
  }

  #take(events: readonly WatchEvent<Item>[]): void {
    const { listener } = this.#dependencies;
    let isChanged = false;
    for (const event of events) {
      switch (event.kind) {
        case "unreadable":
          listener.noted("malformed");
          break;
        case "bookmark":
          this.#version = event.resourceVersion;
          break;
        case "present":
        case "absent":
          this.#apply(event.kind, event.item);
          isChanged = true;
          break;
      }
    }
    if (isChanged) listener.listed(this.#items);
    if (events.length > 0) this.#watchProgressed();
  }

  #apply(kind: "present" | "absent", item: Item): void {
    this.#version = item.resourceVersion;
    if (kind === "absent") this.#items.delete(item.id);
    else if (this.#items.size < ITEMS_MAX || this.#items.has(item.id)) this.#items.set(item.id, item);
    else this.#dependencies.listener.noted("too_large");
  }

  #timeout(what: string, cause: unknown): ApiError {
    const server = this.#dependencies.api.address;
    return new ApiError({ code: "timeout", server }, `${server} did not end a ${what} in time`, { cause });
  }

  #path(query: Readonly<Record<string, string>>): string {
    const { kind, namespace, selector } = this.#settings;
    const within = namespace === null ? "" : `namespaces/${encodeURIComponent(namespace)}/`;
    const labels: Record<string, string> = selector === null ? {} : { labelSelector: selector };
    return `${kind.group}/${within}${kind.plural}?${new URLSearchParams({ ...labels, ...query }).toString()}`;
  }
}

/** A signal that goes off with another or after a time, and knows which. */
function deadline(outer: AbortSignal, ms: number) {
  const controller = new AbortController();
  const state = { isOver: false };
  const end = (): void => {
    controller.abort();
  };
  const timer = setTimeout(() => {
    state.isOver = true;
    end();
  }, ms);
  outer.addEventListener("abort", end, { once: true });
  return {
    signal: controller.signal,
    get isOver() {
      return state.isOver;
    },
    clear: (): void => {
      clearTimeout(timer);
      outer.removeEventListener("abort", end);
    },
  };
}

function sleep(ms: number, signal: AbortSignal): Promise<void> {
  if (ms <= 0 || signal.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    const wake = (): void => {
      clearTimeout(timer);
      signal.removeEventListener("abort", wake);
      resolve();
    };
    const timer = setTimeout(wake, ms);
    signal.addEventListener("abort", wake, { once: true });
  });
}
