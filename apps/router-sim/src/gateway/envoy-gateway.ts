/**
 * Envoy in front of engines, with the shipped configuration (infra/envoy/envoy.yaml) and these ports in place of its own.
 *
 *     client ─▶ Envoy ─ext_proc─▶ the daemon's picker
 *                 └────────────▶ the engine that it named
 *
 * Envoy is a program of its own that a machine may lack; `hasEnvoy` shows whether it is there.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { freePort } from "@kvsync/engine-sim";
import { parse, stringify } from "yaml";
import { z } from "zod";

import { complete } from "./completion.ts";
import { type AnsweredRequest, type Gateway, GatewayError, type GatewayRequest } from "./gateway.ts";

const PROGRAM = "envoy";
const CONFIGURATION = fileURLToPath(new URL("../../../../infra/envoy/envoy.yaml", import.meta.url));
const START_MS_MAX = 30_000;
const POLL_MS = 25;
/** Of what Envoy writes, as much as an error shows. */
const OUTPUT_KEPT = 4000;

/** What of the configuration is another here. */
const SHAPE = z.looseObject({
  admin: z.unknown(),
  static_resources: z.looseObject({
    listeners: z.tuple([
      z.looseObject({
        address: z.unknown(),
        filter_chains: z.tuple([
          z.looseObject({
            filters: z.tuple([
              z.looseObject({
                typed_config: z.looseObject({
                  http_filters: z
                    .array(z.looseObject({ typed_config: z.record(z.string(), z.unknown()) }))
                    .min(1),
                }),
              }),
            ]),
          }),
        ]),
      }),
    ]),
    clusters: z.tuple([z.record(z.string(), z.unknown()), z.record(z.string(), z.unknown())]),
  }),
});

const STATUS = z.object({ predicted_cached_tokens: z.number().min(0) });

/** Whether Envoy is on the PATH. */
export function hasEnvoy(): boolean {
  return spawnSync(PROGRAM, ["--version"]).status === 0;
}

/** See the header. */
export class EnvoyGateway implements Gateway {
  readonly description = "Envoy, which asks the picker";
  readonly #child: ChildProcess;
  readonly #folder: string;
  readonly #ports: { readonly gateway: number; readonly admin: number };
  readonly #daemonUrl: string;
  #output = "";
  readonly #killAtExit = (): void => {
    this.#child.kill("SIGKILL");
  };

  private constructor(
    child: ChildProcess,
    folder: string,
    ports: { readonly gateway: number; readonly admin: number },
    daemonUrl: string,
  ) {
    this.#daemonUrl = daemonUrl;
    this.#child = child;
    this.#folder = folder;
    this.#ports = ports;
    for (const stream of [child.stdout, child.stderr])
      stream?.on("data", (chunk: Buffer) => {
        this.#output = (this.#output + chunk.toString()).slice(-OUTPUT_KEPT);
      });
    process.on("exit", this.#killAtExit);
  }

  /**
   * Starts one, and waits until it takes requests and the picker is well.
   *
   * @param engines - `host:port` each.
   * @param picker - `host:port`, without TLS.
   * @param daemonUrl - whose picker it is.
   * @throws GatewayError `not_started`, with what Envoy wrote.
   */
  static async start(engines: readonly string[], picker: string, daemonUrl: string): Promise<EnvoyGateway> {
    const ports = { gateway: await freePort(), admin: await freePort() };
    const config = SHAPE.parse(parse(await readFile(CONFIGURATION, "utf8")));
    const { listeners, clusters } = config.static_resources;
    config.admin = { address: socketAddress(`127.0.0.1:${ports.admin}`) };
    listeners[0].address = socketAddress(`127.0.0.1:${ports.gateway}`);
    for (const [cluster, addresses] of [
      [clusters[0], engines],
      [clusters[1], [picker]],
    ] as const)
      cluster["load_assignment"] = {
        cluster_name: cluster["name"],
        endpoints: [
          { lb_endpoints: addresses.map((address) => ({ endpoint: { address: socketAddress(address) } })) },
        ],
      };
    const [extProc] = listeners[0].filter_chains[0].filters[0].typed_config.http_filters;
    // So that the picker sees the first token, and the engine's own count of cached tokens.
    Object.assign(extProc?.typed_config["processing_mode"] ?? {}, {
      response_body_mode: "FULL_DUPLEX_STREAMED",
    });
    const folder = await mkdtemp(join(tmpdir(), "router-sim-envoy-"));
    const file = join(folder, "envoy.yaml");
    await writeFile(file, stringify(config));
    const options = ["-c", file, "--concurrency", "1", "--use-dynamic-base-id", "-l", "warning"];
    const envoy = new EnvoyGateway(
      spawn(PROGRAM, options, { stdio: ["ignore", "pipe", "pipe"] }),
      folder,
      ports,
      daemonUrl,
    );
    await envoy.#started();
    return envoy;
  }

  /** See Gateway. */
  async complete({ body }: GatewayRequest): Promise<AnsweredRequest> {
    return await complete(`http://127.0.0.1:${this.#ports.gateway}`, body);
  }

  /** See Gateway: the picker's own count. */
  async predictedTokens(): Promise<number> {
    const response = await fetch(`${this.#daemonUrl}/api/v1/picker`);
    return response.ok ? STATUS.parse(await response.json()).predicted_cached_tokens : 0;
  }

  /** See Gateway. */
  async stop(): Promise<void> {
    process.off("exit", this.#killAtExit);
    if (this.#child.exitCode === null && this.#child.signalCode === null) {
      const ended = once(this.#child, "close");
      this.#child.kill("SIGTERM");
      const deadline = setTimeout(() => this.#child.kill("SIGKILL"), 5000);
      await ended;
      clearTimeout(deadline);
    }
    await rm(this.#folder, { recursive: true, force: true });
  }

  async #started(): Promise<void> {
    const untilMs = performance.now() + START_MS_MAX;
    while (performance.now() < untilMs && this.#child.exitCode === null) {
      if (await this.#isReady()) return;
      await sleep(POLL_MS);
    }
    const output = this.#output;
    await this.stop();
    throw new GatewayError({ code: "not_started", output }, `Envoy did not start:\n${output}`);
  }

  /** Whether it listens, and its own health check of the picker has passed. */
  async #isReady(): Promise<boolean> {
    try {
      const admin = `http://127.0.0.1:${this.#ports.admin}`;
      if (!(await fetch(`${admin}/ready`)).ok) return false;
      const stats = await fetch(`${admin}/stats?filter=^cluster.picker.membership_healthy$`);
      return /: 1$/m.test(await stats.text());
    } catch {
      // It does not listen yet.
      return false;
    }
  }
}

function socketAddress(address: string): object {
  const { hostname, port } = new URL(`http://${address}`);
  return { socket_address: { address: hostname.replace(/^\[|\]$/g, ""), port_value: Number(port) } };
}
