/**
 * A thousand engines that publish over ZeroMQ, in a few processes: one may have about 500 engines with two sockets each.
 *
 *     EngineCrowd ── start, begin, end ──▶ crowd-process.ts × PROCESSES ──ZeroMQ──▶ daemon
 */
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";

const PROCESS = fileURLToPath(new URL("./crowd-process.ts", import.meta.url));
const PROCESSES = 4;
const MODELS = 4;

/** See the head of this file. */
export class EngineCrowd {
  /** Of a configuration file. */
  readonly entries: readonly object[];
  readonly #children: readonly ChildProcess[];

  private constructor(children: readonly ChildProcess[], entries: readonly object[]) {
    this.#children = children;
    this.entries = entries;
  }

  /** Starts so many engines, which are idle. */
  static async start(count: number): Promise<EngineCrowd> {
    const each = Math.ceil(count / PROCESSES);
    const children = Array.from({ length: PROCESSES }, (_, i) =>
      fork(PROCESS, [i * each, Math.min(each, count - i * each), MODELS].map(String), {
        execArgv: ["--experimental-strip-types", "--no-warnings"],
        env: { PATH: process.env["PATH"] },
      }),
    );
    const entries = await Promise.all(
      children.map(async (child) => ((await once(child, "message")) as [object[]])[0]),
    );
    return new EngineCrowd(children, entries.flat());
  }

  /** From now on each engine serves a request a second. */
  begin(): void {
    for (const child of this.#children) child.send("begin");
  }

  /** Ends them. */
  async end(): Promise<void> {
    await Promise.all(
      this.#children.map(async (child) => {
        const gone = once(child, "exit");
        child.send("end");
        await gone;
      }),
    );
  }
}
