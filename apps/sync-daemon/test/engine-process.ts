/**
 * A simulated engine as a process of its own, which a test kills, freezes and starts again at the
 * same addresses.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const MAIN = fileURLToPath(new URL("../../../packages/engine-sim/dist/main.js", import.meta.url));

interface Listening {
  readonly endpoint: string;
  readonly replayEndpoint: string | null;
}

/** An engine under its own load, or idle. */
export class EngineProcess {
  readonly id: string;
  readonly model: string;
  readonly #load: number;
  #child: ChildProcess | null = null;
  #addresses: Listening | null = null;

  private constructor(id: string, model: string, load: number) {
    this.id = id;
    this.model = model;
    this.#load = load;
  }

  /** Starts one with so many requests a second; resolves when its sockets are open. */
  static async start(id: string, model: string, load: number): Promise<EngineProcess> {
    const engine = new EngineProcess(id, model, load);
    await engine.#spawn("0", "0");
    return engine;
  }

  /** The entry that registers it. */
  get entry(): object {
    const { endpoint, replayEndpoint } = this.#listening();
    return { id: this.id, model: this.model, endpoint, replay_endpoint: replayEndpoint };
  }

  get endpoint(): string {
    return this.#listening().endpoint;
  }

  get replayEndpoint(): string {
    return this.#listening().replayEndpoint ?? "";
  }

  /** Sends a signal: SIGSTOP freezes it, SIGCONT has it go on. */
  signal(signal: NodeJS.Signals): void {
    this.#child?.kill(signal);
  }

  /** Ends it as the system does when memory is short; resolves when it is gone. */
  async kill(): Promise<void> {
    const child = this.#child;
    if (child === null || child.exitCode !== null || child.signalCode !== null) return;
    const gone = new Promise((resolve) => child.once("exit", resolve));
    child.kill("SIGKILL");
    await gone;
  }

  /** Starts it again at the addresses that it had. */
  async startAgain(): Promise<void> {
    const [port = "", replayPort = ""] = [this.endpoint, this.replayEndpoint].map(
      (address) => address.split(":")[2] ?? "",
    );
    await this.#spawn(port, replayPort);
  }

  async #spawn(port: string, replayPort: string): Promise<void> {
    const args = ["--id", this.id, "--model", this.model, "--load", String(this.#load), "--http-port", "0"];
    const ports = ["--port", port, "--replay-port", replayPort];
    const child = spawn(process.execPath, [MAIN, ...args, ...ports], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    this.#child = child;
    this.#addresses = await new Promise((resolve, reject) => {
      createInterface({ input: child.stdout }).once("line", (line) => {
        resolve(JSON.parse(line) as Listening);
      });
      child.once("exit", (code) => {
        reject(new Error(`the engine ended with ${code}`));
      });
    });
  }

  #listening(): Listening {
    if (this.#addresses === null) throw new Error("the engine has not started");
    return this.#addresses;
  }
}
