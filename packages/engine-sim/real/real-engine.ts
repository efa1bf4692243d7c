/**
 * A real engine's cache and publisher in a process of their own: commands go to its standard input,
 * events come over ZeroMQ.
 *
 * The first messages of a publisher can be lost before the subscription reaches it. So the cache is
 * reset until a message arrives; the last of these AllBlocksCleared is where the stream begins.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { Subscriber } from "zeromq";

/** A process that drives real classes. */
export class RealEngine {
  readonly #process: ChildProcess;
  readonly #waiting: ((line: string) => void)[] = [];
  readonly #subscriber = new Subscriber({ receiveHighWaterMark: 0 });
  readonly #messages: Uint8Array[][] = [];
  #wake: (() => void) | null = null;
  #isClosed = false;
  #lastNumber = -1;

  /**
   * @param python - interpreter with the packages of README.md.
   * @param script - the driver; it reads from the environment where the engine is installed.
   */
  constructor(python: string, script: string) {
    this.#process = spawn(python, [script], { stdio: ["pipe", "pipe", "inherit"] });
    const { stdout } = this.#process;
    if (stdout === null) throw new Error("the driver has no output");
    createInterface({ input: stdout }).on("line", (line) => this.#waiting.shift()?.(line));
    this.#process.on("exit", (code) => {
      if (!this.#isClosed) throw new Error(`the driver ended with code ${code}`);
    });
  }

  /** Sends one command and waits for its answer. */
  async command<T>(command: object): Promise<T> {
    return await new Promise((resolve) => {
      this.#waiting.push((line) => {
        resolve(JSON.parse(line) as T);
      });
      this.#process.stdin?.write(`${JSON.stringify(command)}\n`);
    });
  }

  /** Opens the cache, and subscribes. */
  async open(settings: object, port: number): Promise<void> {
    await this.command({ do: "open", ...settings, endpoint: `tcp://*:${port}` });
    this.#subscriber.connect(`tcp://127.0.0.1:${port}`);
    this.#subscriber.subscribe("");
    void this.#receive();
    let begun = 0;
    while (this.#messages.length === 0) {
      await this.command({ do: "reset" });
      const { published } = await this.command<{ published: number }>({ do: "publish" });
      begun = published;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    this.#messages.push(...(await this.messagesUpTo(begun)).slice(-1));
  }

  /** Messages that have not been handed out yet, once all that were published are there. */
  async messagesUpTo(published: number): Promise<Uint8Array[][]> {
    while (this.#lastNumber < published - 1) await new Promise<void>((resolve) => (this.#wake = resolve));
    return this.#messages.splice(0);
  }

  /** Ends the process. */
  async close(): Promise<void> {
    await this.command({ do: "close" });
    this.#isClosed = true;
    this.#subscriber.close();
    this.#process.stdin?.end();
  }

  async #receive(): Promise<void> {
    for await (const frames of this.#subscriber) {
      const message = frames.map((frame) => new Uint8Array(frame));
      this.#messages.push(message);
      this.#lastNumber = numberOf(message);
      this.#wake?.();
      this.#wake = null;
    }
  }
}

function numberOf(frames: readonly Uint8Array[]): number {
  const frame = frames[1];
  if (frame === undefined) throw new Error("a message has three frames");
  return Number(new DataView(frame.buffer, frame.byteOffset, 8).getBigUint64(0));
}
