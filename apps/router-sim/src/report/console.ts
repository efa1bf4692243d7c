/**
 * The output in the terminal: lines on stdout, and progress on stderr so that the output can be
 * kept. On a terminal progress
 * is a bar that lines push down; elsewhere it is a plain line every few seconds.
 */
import { MultiBar, Presets, type SingleBar } from "cli-progress";

/** Seconds between plain progress lines. */
const PLAIN_SECONDS = 10;

/** See the header. One per process; one bar at a time. */
export class Console {
  #bars: MultiBar | null = null;
  #bar: SingleBar | null = null;
  #name = "";
  #total = 0;
  #things = "";
  #lastPlainMs = 0;

  /** @param line - written as it is; may hold line ends. */
  line(line: string): void {
    if (this.#bars === null) process.stdout.write(`${line}\n`);
    else this.#bars.log(`${line}\n`);
  }

  /**
   * Begins a bar.
   *
   * @param name - of what is under way.
   * @param total - how many there are.
   * @param things - of what, in the plural.
   */
  begin(name: string, total: number, things = "requests"): void {
    this.#name = name;
    this.#total = total;
    this.#things = things;
    this.#lastPlainMs = performance.now();
    if (!process.stderr.isTTY) return;
    const format = `{name} {bar} {value}/{total} ${things} · {note} · {duration} s`;
    const options = { stream: process.stderr, format, clearOnComplete: true, hideCursor: true };
    this.#bars = new MultiBar(options, Presets.shades_grey);
    this.#bar = this.#bars.create(total, 0, { name, note: "" });
  }

  /**
   * Moves the bar, or says so from time to time.
   *
   * @param value - how many are done.
   * @param note - what else is worth saying.
   */
  progress(value: number, note: string): void {
    if (this.#bar !== null) {
      this.#bar.update(value, { name: this.#name, note });
      return;
    }
    if (performance.now() - this.#lastPlainMs < 1000 * PLAIN_SECONDS) return;
    this.#lastPlainMs = performance.now();
    process.stderr.write(`${this.#name}: ${value} of ${this.#total} ${this.#things}, ${note}\n`);
  }

  /** Takes the bar away. */
  end(): void {
    this.#bars?.stop();
    this.#bars = null;
    this.#bar = null;
  }
}
