/** A daemon process whose picker is measured, by the system's own account of its threads. Needs Linux, and Node 24, which names threads. */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { cpus, loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { execPath, version } from "node:process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const MAIN = fileURLToPath(new URL("../dist/main.js", import.meta.url));
const FLOOR = fileURLToPath(new URL("picker-floor.ts", import.meta.url));
const PAGE_BYTES = 4096;
const MIB = 1024 * 1024;

export const MODEL = "bench/model";

/** The machine, as each benchmark prints it. */
export function machine(): string {
  return `${cpus()[0]?.model ?? "?"}, ${cpus().length} cores, load ${loadavg()[0]?.toFixed(1)}, Node ${version}`;
}

/** A server of node:http2 alone, which answers as many bytes as a picker (picker-floor.ts): what no picker on it can go below. */
export class PickerFloor {
  readonly port: number;
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess, port: number) {
    this.#child = child;
    process.once("exit", () => child.kill("SIGKILL"));
    this.port = port;
  }

  /** @param addresses - of engines, for Envoy; none for clients that say how many bytes come. */
  static async start(addresses: readonly string[] = []): Promise<PickerFloor> {
    const child = spawn(execPath, [FLOOR, ...(addresses.length > 0 ? [addresses.join()] : [])], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    const port = await new Promise<number>((resolve) => {
      createInterface({ input: child.stdout }).once("line", (text) => {
        resolve(Number(text));
      });
    });
    return new PickerFloor(child, port);
  }

  /** CPU time of its main thread, which is the only one that works, in ms. */
  get threadCpuMs(): number {
    const pid = this.#child.pid ?? 0;
    return Number(readFileSync(`/proc/${pid}/task/${pid}/schedstat`, "utf8").split(" ")[0]) / 1e6;
  }

  /** CPU time of all its threads, in ms. */
  get processCpuMs(): number {
    return cpuMsOf(this.#child);
  }

  stop(): void {
    this.#child.kill("SIGKILL");
  }
}

/**
 * A daemon of the built files, with so many engines that publish no events. Without `addressOf` no engine has their addresses: they
 * are picked, not asked.
 */
export class PickerDaemon {
  readonly url: string;
  readonly port: number;
  readonly #child: ChildProcess;
  readonly #folder: string;
  readonly #thread: string;

  private constructor(child: ChildProcess, folder: string, url: string, port: number) {
    this.#child = child;
    process.once("exit", () => child.kill("SIGKILL"));
    this.#folder = folder;
    this.url = url;
    this.port = port;
    this.#thread = threadNamed(child.pid ?? 0, "picker");
  }

  static async start(
    engines: number,
    picker: object = {},
    addressOf = (i: number): string => `10.0.${i >> 8}.${i & 255}:8000`,
  ): Promise<PickerDaemon> {
    const folder = mkdtempSync(join(tmpdir(), "kvsync-picker-bench-"));
    const port = await freePort();
    const file = join(folder, "kvsync.json");
    writeFileSync(
      file,
      JSON.stringify({
        engines: Array.from({ length: engines }, (_, i) => ({
          id: `engine-${i}`,
          model: MODEL,
          endpoint: `tcp://127.1.${i >> 8}.${i & 255}:9`,
          http: [addressOf(i)],
        })),
        picker: { enabled: true, port, health_port: 0, tls: { mode: "none" }, scrape_ms: 0, ...picker },
        snapshot: { enabled: false },
        http: { port: 0 },
      }),
    );
    const child = spawn(execPath, [MAIN, "--config", file], { stdio: ["ignore", "pipe", "inherit"] });
    const url = await new Promise<string>((resolve, reject) => {
      createInterface({ input: child.stdout }).on("line", (text) => {
        const line = JSON.parse(text) as Record<string, unknown>;
        if (line["event"] === "listening") resolve(`http://127.0.0.1:${String(line["port"])}`);
      });
      child.once("exit", (code) => {
        reject(new Error(`the daemon ended with ${code}`));
      });
    });
    return new PickerDaemon(child, folder, url, port);
  }

  /** CPU time of the picker's thread, in ms. */
  get threadCpuMs(): number {
    const stat = readFileSync(`/proc/${this.#child.pid ?? 0}/task/${this.#thread}/schedstat`, "utf8");
    return Number(stat.split(" ")[0]) / 1e6;
  }

  /** CPU time of all threads, in ms. */
  get processCpuMs(): number {
    return cpuMsOf(this.#child);
  }

  /** CPU time of the main thread, which answers HTTP, and how long it was ready to run and waited for a core, in ms. */
  get mainThread(): ThreadTimes {
    return threadTimes(this.#child.pid ?? 0);
  }

  get residentMib(): number {
    const pages = readFileSync(`/proc/${this.#child.pid ?? 0}/statm`, "utf8").split(" ")[1];
    return (Number(pages) * PAGE_BYTES) / MIB;
  }

  /** What is booked and open, by the daemon's own word. */
  async status(): Promise<{ readonly bookings: number; readonly decisions: Record<string, number> }> {
    const response = await fetch(`${this.url}/api/v1/picker`);
    return (await response.json()) as { bookings: number; decisions: Record<string, number> };
  }

  async stop(): Promise<void> {
    this.#child.removeAllListeners("exit");
    const ended = new Promise((resolve) => this.#child.once("exit", resolve));
    this.#child.kill("SIGTERM");
    await ended;
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

/** What the system says of a thread. */
export interface ThreadTimes {
  readonly cpuMs: number;
  readonly waitMs: number;
}

/** Of the main thread of a process. */
export function threadTimes(pid: number): ThreadTimes {
  const [cpu, wait] = readFileSync(`/proc/${pid}/task/${pid}/schedstat`, "utf8").split(" ");
  return { cpuMs: Number(cpu) / 1e6, waitMs: Number(wait) / 1e6 };
}

function cpuMsOf({ pid = 0 }: ChildProcess): number {
  const tasks = `/proc/${pid}/task`;
  return readdirSync(tasks).reduce(
    (sum, task) => sum + Number(readFileSync(`${tasks}/${task}/schedstat`, "utf8").split(" ")[0]) / 1e6,
    0,
  );
}

function threadNamed(pid: number, name: string): string {
  const tasks = `/proc/${pid}/task`;
  const found = readdirSync(tasks).filter(
    (task) => readFileSync(`${tasks}/${task}/comm`, "utf8").trim() === name,
  );
  const [only] = found;
  if (only === undefined || found.length > 1)
    throw new Error(`expected one thread named ${name}: this needs Linux and Node 24, which names threads`);
  return only;
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}
