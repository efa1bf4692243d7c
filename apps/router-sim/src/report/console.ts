/**
 * What goes to the terminal: lines on stdout, and progress on stderr so that the output can be kept. On a terminal progress
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
  #lastPlainMs = 0;

  /** @param line - written as it is; may hold line ends. */
  line(line: string): void {
    if (this.#bars === null) process.stdout.write(`${line}\n`);
    else this.#bars.log(`${line}\n`);
  }

  /** Begins a bar. */
  begin(name: string, total: number): void {
    this.#name = name;
    this.#total = total;
    this.#lastPlainMs = performance.now();
    if (!process.stderr.isTTY) return;
    const format = "{name} {bar} {value}/{total} requests · {modelled} s modelled · {duration} s";
    const options = { stream: process.stderr, format, clearOnComplete: true, hideCursor: true };
    this.#bars = new MultiBar(options, Presets.shades_grey);
    this.#bar = this.#bars.create(total, 0, { name, modelled: 0 });
  }

  /** Moves the bar, or says so from time to time. */
  progress(value: number, modelledSeconds: number): void {
    const modelled = modelledSeconds.toFixed(0);
    if (this.#bar !== null) {
      this.#bar.update(value, { name: this.#name, modelled });
      return;
    }
    if (performance.now() - this.#lastPlainMs < 1000 * PLAIN_SECONDS) return;
    this.#lastPlainMs = performance.now();
    process.stderr.write(`${this.#name}: ${value} of ${this.#total} requests, ${modelled} s modelled\n`);
  }

  /** Takes the bar away. */
  end(): void {
    this.#bars?.stop();
    this.#bars = null;
    this.#bar = null;
  }
}
