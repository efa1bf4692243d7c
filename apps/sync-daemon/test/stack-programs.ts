/**
 * The monitoring stack's programs, as their projects build them, with the files of infra/. `npm run stack-check` names the binaries in
 * the environment. A file is used as it is, except for ports, hosts, folders, and the encoding that loki-receiver.ts reads.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { freePort } from "@kvsync/engine-sim";
import { parse, stringify } from "yaml";

import { until } from "./fleet.ts";

const INFRA = fileURLToPath(new URL("../../../infra/", import.meta.url));
const OUTPUT_KEPT = 100_000;
/** A program starts within a second or two on an idle machine. */
const START_TIMEOUT_MS = 60_000;

/** A configuration of Jaeger or the collector, as far as it is changed here. */
export interface StackFile {
  readonly service: {
    telemetry?: {
      readonly metrics: {
        readonly readers: readonly {
          readonly pull: { readonly exporter: { readonly prometheus: object } };
        }[];
      };
    };
  };
  readonly extensions: Readonly<Record<string, Record<string, unknown>>>;
  readonly receivers: Readonly<Record<string, Record<string, unknown>>>;
  readonly exporters: Readonly<Record<string, Record<string, unknown>>>;
}

/** The program and how it is called on the command line of stack-check. */
export interface StackBinary {
  readonly path: string;
  readonly name: "jaeger" | "collector";
}

/** The binary that the environment names; null without one. */
export function binaryOf(name: StackBinary["name"]): StackBinary | null {
  const path = process.env[`KVSYNC_${name.toUpperCase()}`];
  return path === undefined || path === "" ? null : { name, path };
}

/** The text of a file of infra/. */
export function stackText(path: string): string {
  return readFileSync(join(INFRA, path), "utf8");
}

/** A file of infra/, parsed. */
export function stackFile(path: string): StackFile {
  return parse(stackText(path)) as StackFile;
}

/** Runs `validate` with a text as the configuration: its exit code and what it printed. */
export function validated({ path }: StackBinary, text: string): { code: number | null; output: string } {
  const folder = mkdtempSync(join(tmpdir(), "kvsync-stack-"));
  const file = join(folder, "config.yaml");
  writeFileSync(file, text);
  const { status, stdout, stderr } = spawnSync(path, ["validate", "--config", file], { encoding: "utf8" });
  rmSync(folder, { recursive: true });
  return { code: status, output: `${stdout}${stderr}` };
}

/** The readers of a file keep their options; Jaeger's file has none. */
function moveOwnMetrics({ service }: StackFile, port: number): void {
  const here = { host: "127.0.0.1", port };
  service.telemetry ??= { metrics: { readers: [{ pull: { exporter: { prometheus: {} } } }] } };
  for (const { pull } of service.telemetry.metrics.readers) Object.assign(pull.exporter.prometheus, here);
}

/** Where a program of the stack listens here. */
export interface StackPorts {
  readonly otlp: number;
  readonly health: number;
  /** Of its own metrics. */
  readonly metrics: number;
}

/** As the probes of infra/kubernetes/monitoring ask. */
const HEALTH_PATHS = { jaeger: "/status", collector: "/" } as const;

/** One running program. Stop it. */
export class StackProgram {
  readonly #child: ChildProcess;
  readonly #folder: string;
  readonly #exited: Promise<void>;
  readonly #name: StackBinary["name"];
  #output = "";
  readonly ports: StackPorts;

  private constructor({ name, path }: StackBinary, file: StackFile, ports: StackPorts) {
    this.#name = name;
    this.ports = ports;
    this.#folder = mkdtempSync(join(tmpdir(), "kvsync-stack-"));
    const config = join(this.#folder, "config.yaml");
    writeFileSync(config, stringify(file));
    this.#child = spawn(path, ["--config", config], { stdio: ["ignore", "pipe", "pipe"] });
    for (const stream of [this.#child.stdout, this.#child.stderr])
      stream?.on("data", (chunk: Buffer) => {
        this.#output = `${this.#output}${String(chunk)}`.slice(-OUTPUT_KEPT);
      });
    this.#exited = new Promise((resolve) => {
      this.#child.on("exit", () => {
        resolve();
      });
    });
  }

  /**
   * Starts it and waits until its health check answers.
   *
   * @param binary - the program.
   * @param path - its file below infra/.
   * @param change - what this machine needs, after ports and hosts were moved.
   */
  static async start(
    binary: StackBinary,
    path: string,
    change: (file: StackFile) => void,
  ): Promise<StackProgram> {
    const file = stackFile(path);
    const ports = { otlp: await freePort(), health: await freePort(), metrics: await freePort() };
    const at = (port: number): object => ({ endpoint: `127.0.0.1:${port}` });
    Object.assign(file.receivers["otlp"] ?? {}, {
      protocols: { grpc: at(await freePort()), http: at(ports.otlp) },
    });
    Object.assign(file.extensions["health_check"] ?? {}, at(ports.health));
    Object.assign(file.extensions["healthcheckv2"] ?? {}, { http: at(ports.health) });
    moveOwnMetrics(file, ports.metrics);
    change(file);
    const program = new StackProgram(binary, file, ports);
    await until(`${binary.name} is healthy`, () => program.#isHealthy(), START_TIMEOUT_MS).catch(
      async (error: unknown) => {
        await program.stop();
        throw new Error(program.#output, { cause: error });
      },
    );
    return program;
  }

  /** The last of what it printed. */
  get output(): string {
    return this.#output;
  }

  /** The sum of a counter of its own metrics, over its series; 0 without any. */
  async counted(name: string): Promise<number> {
    const text = await (await fetch(`http://127.0.0.1:${this.ports.metrics}/metrics`)).text();
    const values = [...text.matchAll(new RegExp(`^${name}(?:_total)?(?:\\{.*\\})? (\\S+)$`, "gm"))];
    return values.reduce((sum, [, value]) => sum + Number(value), 0);
  }

  /** Ends it as a container's runtime does, and waits. */
  async stop(): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) this.#child.kill("SIGTERM");
    await this.#exited;
    rmSync(this.#folder, { recursive: true, force: true });
  }

  async #isHealthy(): Promise<boolean> {
    if (this.#child.exitCode !== null) throw new Error(`it ended with ${this.#child.exitCode}`);
    const health = `http://127.0.0.1:${this.ports.health}${HEALTH_PATHS[this.#name]}`;
    return fetch(health).then(
      ({ ok }) => ok,
      () => false,
    );
  }
}

/** Log files of a container's runtime. */
export interface RuntimeLog {
  /** What the collector's `include` names. */
  readonly glob: string;
  /** Writes a line of a container, as it is without the runtime's frame. */
  write(line: string, container?: string): void;
}

/** Docker splits longer lines over several frames. */
const DOCKER_FRAME_BYTES = 16_384;

/** Log files as Docker's driver `json-file` writes them, with Compose's labels. */
export function dockerLog(folder: string, now: () => Date): RuntimeLog {
  return {
    glob: join(folder, "*", "*-json.log"),
    write(line, container = "kvsync/daemon") {
      const [project, service = ""] = container.split("/");
      const id = Buffer.from(container).toString("hex");
      mkdirSync(join(folder, id), { recursive: true });
      const attrs = { "com.docker.compose.project": project, "com.docker.compose.service": service };
      const parts = `${line}\n`.match(new RegExp(`[^]{1,${DOCKER_FRAME_BYTES}}`, "g")) ?? [];
      for (const log of parts) {
        const frame = { log, stream: "stdout", attrs, time: now().toISOString().replace("Z", "000000Z") };
        writeFileSync(join(folder, id, `${id}-json.log`), `${JSON.stringify(frame)}\n`, { flag: "a" });
      }
    },
  };
}

/** containerd splits longer lines into partial ones. */
const CRI_LINE_BYTES = 16_384;

/** The daemon's container, as the manifests name it. */
export const DAEMON_CONTAINER: string = (() => {
  const [, name = ""] =
    /containers:\n *- name: (\S+)/.exec(readFileSync(join(INFRA, "kubernetes/daemon.yaml"), "utf8")) ?? [];
  return name;
})();

/** Log files as containerd writes them below /var/log/pods. */
export function podLog(folder: string, now: () => Date): RuntimeLog {
  return {
    glob: join(folder, "*_kvsync*", "*", "*.log"),
    write(line, container = `serving_kvsync-daemon-0/${DAEMON_CONTAINER}`) {
      const [pod = "", name = ""] = container.split("/");
      const place = join(folder, `${pod}_0aab5b5c-5d23-4c32-a4ab-5c6d8c5b8e11`, name);
      mkdirSync(place, { recursive: true });
      const parts = line.match(new RegExp(`[^]{1,${CRI_LINE_BYTES}}`, "g")) ?? [];
      for (const [i, part] of parts.entries()) {
        const tag = i === parts.length - 1 ? "F" : "P";
        const time = now().toISOString().replace("Z", "000000Z");
        writeFileSync(join(place, "0.log"), `${time} stdout ${tag} ${part}\n`, { flag: "a" });
      }
    },
  };
}
