/**
 * Pickers of a fleet that is split over four built daemons, with TLS and a token between them. Each picks over the
 * engines of all shards, over HTTP and for a gateway. One shard is killed, and comes back.
 *
 * Without index.seed_file each daemon has a seed of its own: pickers ask by tokens, which need none.
 */
import { createHash } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import type { PickAnswer } from "@kvsync/client";
import { shardOf } from "@kvsync/core";
import { freePort } from "@kvsync/engine-sim";
import { NAMESPACE } from "@kvsync/observability/kvsync/namespace";
import { expect, onTestFinished, test } from "vitest";

import { Authority } from "./certificates.ts";
import { DaemonProcess } from "./daemon-process.ts";
import { caughtUp, TestEngine, until } from "./fleet.ts";
import { PickerTraffic } from "./picker-traffic.ts";

const MODEL = "test/model";
const COUNT = 4;
const KILLED = 2;
const TOKEN = "a-token-of-the-pickers";
/** A busy machine may be slow; what is not there fails at once. */
const PATIENT_MS = 10_000;

/** Ids, one for each shard. */
function ids(): readonly string[] {
  const found = new Map<number, string>();
  for (let n = 0; found.size < COUNT; n++)
    if (!found.has(shardOf(`engine-${n}`, COUNT))) found.set(shardOf(`engine-${n}`, COUNT), `engine-${n}`);
  return Array.from({ length: COUNT }, (_, shard) => found.get(shard) ?? "");
}

/** Four shards with one engine each. */
class ShardedFleet {
  readonly engines: readonly TestEngine[];
  readonly daemons: DaemonProcess[] = [];
  readonly gatewayPort: number;
  readonly #ports: readonly number[];
  readonly #folder = mkdtempSync(join(tmpdir(), "kvsync-picker-shards-"));
  readonly #ca: string;

  private constructor(
    engines: readonly TestEngine[],
    ports: readonly number[],
    ca: string,
    files: Readonly<Record<string, string>>,
  ) {
    this.engines = engines;
    const [gatewayPort = 0, ...others] = ports;
    this.gatewayPort = gatewayPort;
    this.#ports = others;
    this.#ca = ca;
    for (const [name, content] of Object.entries(files)) writeFileSync(join(this.#folder, name), content);
  }

  static async start(): Promise<ShardedFleet> {
    const engines = await Promise.all(
      ids().map((id, seed) => TestEngine.start({ id, blockCount: 10_000, model: MODEL }, seed + 1)),
    );
    const ports: number[] = [];
    while (ports.length <= COUNT) ports.push(await freePort());
    const authority = await Authority.make();
    const { cert, key } = await authority.sign("shard");
    const sha256 = createHash("sha256").update(TOKEN).digest("hex");
    const fleet = new ShardedFleet(engines, ports, authority.cert, {
      "ca.pem": authority.cert,
      "cert.pem": cert,
      "key.pem": key,
      token: `${TOKEN}\n`,
      "tokens.yaml": JSON.stringify({ tokens: [{ name: "pickers", scope: "read", sha256 }] }),
    });
    onTestFinished(() => fleet.#stop());
    await Promise.all(engines.map((_, index) => fleet.startShard(index)));
    return fleet;
  }

  /** Where requests for an engine go. Nothing listens there. */
  addressOf(index: number): string {
    return `127.0.0.1:${index + 1}`;
  }

  async startShard(index: number): Promise<void> {
    const file = (name: string): string => join(this.#folder, name);
    const shards = {
      addresses: this.#ports.map((port) => [`https://127.0.0.1:${port}`]),
      token_file: file("token"),
      ca_file: file("ca.pem"),
      timeout_ms: PATIENT_MS,
    };
    const daemon = await DaemonProcess.start(
      {
        index: { prefix_hashes: "secret" },
        engines: this.engines.map(({ entry }, i) => ({ ...entry, http: [this.addressOf(i)] })),
        shard: { index, count: COUNT },
        security: { tokens_file: file("tokens.yaml"), reload_seconds: 1 },
        tls: { cert_file: file("cert.pem"), key_file: file("key.pem") },
        snapshot: { enabled: false },
        picker: {
          ...PickerTraffic.settings(index === 0 ? this.gatewayPort : 0),
          scrape_ms: 0,
          decision_timeout_ms: PATIENT_MS,
          shards,
        },
      },
      ["--port", String(this.#ports[index])],
    );
    daemon.trust(this.#ca, 4);
    daemon.authorize(TOKEN);
    this.daemons[index] = daemon;
  }

  daemon(index: number): DaemonProcess {
    const daemon = this.daemons[index];
    if (daemon === undefined) throw new Error(`shard ${index} was not started`);
    return daemon;
  }

  async json<Answer>(index: number, path: string, body?: object): Promise<Answer> {
    const init = {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body),
    };
    return (await (await this.daemon(index).fetch(path, body && init)).json()) as Answer;
  }

  /** Has a shard's picker pick for a prompt. The request is over at once. */
  async pick(index: number, tokens: ArrayLike<number>): Promise<PickAnswer> {
    const answer = await this.json<PickAnswer>(index, "/api/v1/pick", {
      model: MODEL,
      token_ids: Array.from(tokens),
    });
    await this.daemon(index).fetch(`/api/v1/pick/${answer.id}/end`, { method: "POST" });
    return answer;
  }

  /** The pickers' file of the token is gone. */
  loseToken(): void {
    rmSync(join(this.#folder, "token"));
  }

  firstPrompt(index: number): Uint32Array {
    return this.engines[index]?.firstPrompt ?? new Uint32Array();
  }

  async inSync(index: number): Promise<void> {
    const { engine } = { engine: this.engines[index] };
    await caughtUp(this.daemon(index), engine === undefined ? [] : [engine]);
  }

  async #stop(): Promise<void> {
    await Promise.all(this.daemons.map((daemon) => daemon.end("SIGKILL")));
    await Promise.all(this.engines.map((engine) => engine.stop()));
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

/** Questions of a picker to a shard, by their outcome. */
async function lookupsOf(daemon: DaemonProcess, shard: number): Promise<Readonly<Record<string, number>>> {
  const text = await (await daemon.fetch("/metrics")).text();
  const lines = text.matchAll(
    new RegExp(`^${NAMESPACE}_kv_picker_shard_lookups_total\\{(.*)\\} (\\d+)$`, "gm"),
  );
  return Object.fromEntries(
    [...lines]
      .filter(([, labels = ""]) => labels.includes(`shard_index="${shard}"`))
      .map(([, labels = "", count]) => [/outcome="([^"]*)"/.exec(labels)?.[1] ?? "", Number(count)]),
  );
}

test("K6, E10: each picker picks over the engines of all shards, and says when a shard is missing", async () => {
  const fleet = await ShardedFleet.start();
  const all = Array.from({ length: COUNT }, (_, index) => index);
  for (const engine of fleet.engines) await engine.serve(4);
  await Promise.all(all.map((index) => fleet.inSync(index)));

  // The endpoint of the engine is picked, by the picker of each shard.
  for (const asked of all)
    for (const holder of all) {
      const answer = await fleet.pick(asked, fleet.firstPrompt(holder));
      expect(answer).toMatchObject({ decision: "index", reason: "none", missing_shards: [], trust: "exact" });
      expect(answer.endpoints[0].endpoint).toBe(fleet.addressOf(holder));
      expect(answer.matched_tokens).toBeGreaterThan(0);
    }
  const gateway = new PickerTraffic(fleet.gatewayPort);
  onTestFinished(() => {
    gateway.close();
  });
  const body = JSON.stringify({ model: MODEL, prompt: Array.from(fleet.firstPrompt(3)) });
  const picked = async (): Promise<string> => {
    const stream = gateway.open(body);
    const destination = await PickerTraffic.picked(stream);
    stream.stream.close();
    return destination;
  };
  expect((await picked()).split(",")[0]).toBe(fleet.addressOf(3));
  // A prompt that no engine holds is an answer of the index, too.
  const unknown = Uint32Array.from({ length: 64 }, (_, i) => 1_000_000 + i);
  expect(await fleet.pick(0, unknown)).toMatchObject({
    decision: "index",
    trust: "exact",
    matched_tokens: 0,
  });

  await fleet.daemon(KILLED).end("SIGKILL");
  const incomplete = await fleet.pick(0, fleet.firstPrompt(1));
  expect(incomplete).toMatchObject({
    decision: "degraded",
    reason: "shard_missing",
    missing_shards: [KILLED],
    trust: "partial",
  });
  expect(incomplete.endpoints[0].endpoint).toBe(fleet.addressOf(1));
  // The engines of the missing shard can still be picked, without a match.
  const only = { model: MODEL, token_ids: Array.from(unknown), endpoints: [fleet.addressOf(KILLED)] };
  expect(await fleet.json(0, "/api/v1/picker/explain", only)).toMatchObject({
    reason: "shard_missing",
    missing_shards: [KILLED],
    endpoints: [{ endpoint: fleet.addressOf(KILLED), trust: "unknown" }],
  });
  expect((await picked()).split(",")[0]).toBe(fleet.addressOf(3));
  expect(await fleet.json(0, "/api/v1/picker")).toMatchObject({
    missing_shards: [KILLED],
    decisions: { degraded: 2 },
  });
  const failed = await lookupsOf(fleet.daemon(0), KILLED);
  expect(failed["unreachable"]).toBeGreaterThan(0);
  expect((await lookupsOf(fleet.daemon(0), 1))["ok"]).toBeGreaterThan(COUNT);
  expect(fleet.daemon(0).log.filter(({ event }) => event === "picker_shard_missing")).toMatchObject([
    { shard: KILLED, reason: "unreachable" },
  ]);
  // Replicas that fail again and again are left alone, so that no pick waits for them.
  await until("the circuit opens", async () => {
    await fleet.pick(0, fleet.firstPrompt(1));
    return ((await lookupsOf(fleet.daemon(0), KILLED))["circuit_open"] ?? 0) > 0;
  });

  await fleet.startShard(KILLED);
  await fleet.inSync(KILLED);
  await until("the shard is asked again", async () => {
    const { decision, missing_shards: missing } = await fleet.pick(0, fleet.firstPrompt(KILLED));
    return decision === "index" && missing.length === 0;
  });
  const back = await fleet.pick(0, fleet.firstPrompt(KILLED));
  expect(back).toMatchObject({ decision: "index", missing_shards: [], trust: "exact" });
  expect(back.endpoints[0].endpoint).toBe(fleet.addressOf(KILLED));
  expect(await fleet.json(0, "/api/v1/picker")).toMatchObject({ missing_shards: [] });
  expect(fleet.daemon(0).codes.has("picker_shard_back")).toBe(true);

  fleet.loseToken();
  await until("the missing file is told", () =>
    Promise.resolve(fleet.daemon(0).codes.has("picker_shards_file_refused")),
  );
  expect(await fleet.pick(0, fleet.firstPrompt(KILLED))).toMatchObject({ decision: "index" });
});
