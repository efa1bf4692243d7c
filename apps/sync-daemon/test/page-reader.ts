/**
 * A reader of the web page's live stream, as the page is one: it keeps the fleet's rows and applies
 * each delta. A gap in the numbers of deltas is an error.
 */
import type { DaemonProcess } from "./daemon-process.ts";

/** A row by the names of its columns. */
export type PageRow = Readonly<Record<string, unknown>>;

/** An event of the stream. */
export interface PageEvent {
  readonly event: string;
  readonly data: Readonly<Record<string, unknown>>;
}

interface Delta {
  readonly n: number;
  readonly seq: readonly (readonly [number, number])[];
  readonly set: readonly (readonly [number, number, unknown])[];
  readonly gone: readonly number[];
  readonly new: readonly (readonly unknown[])[];
}

/** See the head of this file. */
export class PageReader {
  readonly events: PageEvent[] = [];
  readonly headers: Headers;
  /** Resolves when the stream has ended. */
  readonly ended: Promise<void>;
  readonly #abort: AbortController;
  readonly #rows = new Map<number, unknown[]>();
  #columns: readonly string[] = [];
  #n: number | null = null;

  private constructor(response: Response, abort: AbortController) {
    this.headers = response.headers;
    this.#abort = abort;
    this.ended = this.#read(response);
  }

  /** Opens the stream; the answer has to be 200. */
  static async open(daemon: DaemonProcess): Promise<PageReader> {
    const abort = new AbortController();
    const response = await daemon.fetch("/api/v1/dashboard/stream", { signal: abort.signal });
    if (response.status !== 200) throw new Error(`${response.status}: ${await response.text()}`);
    return new PageReader(response, abort);
  }

  /** Goes away. */
  async close(): Promise<void> {
    this.#abort.abort();
    await this.ended;
  }

  /** The rows, in the order of their slots. */
  get rows(): PageRow[] {
    return [...this.#rows]
      .sort(([a], [b]) => a - b)
      .map(([, cells]) => Object.fromEntries(this.#columns.map((name, i) => [name, cells[i]])));
  }

  /** Data of the events of one name. */
  of(name: string): PageEvent["data"][] {
    return this.events.filter(({ event }) => event === name).map(({ data }) => data);
  }

  async #read(response: Response): Promise<void> {
    const decoder = new TextDecoder();
    let text = "";
    try {
      for await (const chunk of response.body ?? []) {
        text += decoder.decode(chunk as Uint8Array, { stream: true });
        const parts = text.split("\n\n");
        text = parts.pop() ?? "";
        for (const part of parts) this.#take(part);
      }
    } catch (error) {
      if (!this.#abort.signal.aborted) throw error;
    }
  }

  #take(part: string): void {
    const [, event = "", json = ""] = /^event: (\w+)\ndata: (.*)$/.exec(part) ?? [];
    if (event === "") return;
    const data = JSON.parse(json) as PageEvent["data"];
    this.events.push({ event, data });
    if (event === "snapshot") this.#begin(data);
    if (event === "delta") this.#apply(data as unknown as Delta);
  }

  #begin(data: PageEvent["data"]): void {
    this.#columns = data["columns"] as string[];
    this.#rows.clear();
    for (const row of data["rows"] as unknown[][]) this.#rows.set(Number(row[0]), [...row]);
    this.#n = Number(data["n"]);
  }

  #apply({ n, seq, set, gone, new: added }: Delta): void {
    if (n !== (this.#n ?? 0) + 1) throw new Error(`delta ${n} after ${String(this.#n)}`);
    this.#n = n;
    for (const slot of gone) this.#rows.delete(slot);
    for (const row of added) this.#rows.set(Number(row[0]), [...row]);
    const at = this.#columns.indexOf("seq");
    for (const [slot, step] of seq) {
      const row = this.#rows.get(slot);
      if (row !== undefined) row[at] = Number(row[at]) + step;
    }
    for (const [slot, column, value] of set) (this.#rows.get(slot) ?? [])[column] = value;
  }
}
