/**
 * A roll-out as the manifests in infra/kubernetes make it, with two replicas under load. A new one begins with a ready one's index, which it gets through the
 * Service. An old one leaves when the new one is ready. Processes, with the manifests' settings; paths, addresses and engines are the test's.
 */
import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, connect, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { expect, onTestFinished, test } from "vitest";
import { parse, parseAllDocuments } from "yaml";

import { DaemonProcess } from "./daemon-process.ts";
import { audit, caughtUp, TestEngine, until } from "./fleet.ts";

const MANIFEST = new URL("../../../infra/kubernetes/daemon.yaml", import.meta.url);
const TOKEN = "warm-token-0123456789abcdef";

interface ManifestSettings {
  readonly security: object;
  readonly discovery: object;
  readonly snapshot: object;
}

function manifestSettings(): ManifestSettings {
  const map = parseAllDocuments(readFileSync(MANIFEST, "utf8"))
    .map((document) => document.toJS() as { kind: string; data: Record<string, string> })
    .find(({ kind }) => kind === "ConfigMap");
  return parse(map?.data["kvsync.yaml"] ?? "") as ManifestSettings;
}

/** What a Service does: each connection goes to one of its ready pods, in turn. */
class Service {
  readonly #server: Server;
  #pods: DaemonProcess[] = [];
  #turn = 0;

  private constructor() {
    this.#server = createServer((socket) => {
      const pod = this.#pods[this.#turn++ % Math.max(1, this.#pods.length)];
      if (pod === undefined) {
        socket.destroy();
        return;
      }
      const onward = connect(Number(new URL(pod.url).port), "127.0.0.1");
      socket.pipe(onward).pipe(socket);
      socket.on("error", () => onward.destroy());
      onward.on("error", () => socket.destroy());
    });
  }

  static async start(): Promise<Service> {
    const service = new Service();
    await new Promise<void>((resolve) => service.#server.listen(0, "127.0.0.1", resolve));
    return service;
  }

  get url(): string {
    const address = this.#server.address();
    return `http://127.0.0.1:${typeof address === "object" ? address?.port : 0}`;
  }

  set pods(pods: readonly DaemonProcess[]) {
    this.#pods = [...pods];
  }

  stop(): void {
    this.#server.close();
  }
}

test("a roll-out of two replicas under load never answers from a cold index once the first was warm", async () => {
  const folder = mkdtempSync(join(tmpdir(), "kvsync-rollout-"));
  // The history is shorter than what was stored: a replica that starts cold cannot know the first blocks.
  const engine = await TestEngine.start({ id: "a", blockCount: 200_000 }, 5, { bufferSteps: 1000 });
  const service = await Service.start();
  const pods = new Set<DaemonProcess>();
  onTestFinished(async () => {
    for (const pod of pods) await pod.end("SIGKILL");
    service.stop();
    await engine.stop();
    rmSync(folder, { recursive: true, force: true });
  });
  const sha256 = createHash("sha256").update(TOKEN).digest("hex");
  writeFileSync(
    join(folder, "tokens.yaml"),
    `tokens:\n  - { name: replicas, scope: admin, sha256: ${sha256} }\n`,
  );
  writeFileSync(join(folder, "warm.token"), TOKEN);
  const settings = manifestSettings();
  let number = 0;
  const startPod = async (): Promise<DaemonProcess> => {
    // A new pod has an empty volume.
    const volume = join(folder, String(number++));
    mkdirSync(volume);
    const pod = await DaemonProcess.start({
      engines: [engine.entry],
      security: { ...settings.security, tokens_file: join(folder, "tokens.yaml") },
      discovery: { state_directory: join(volume, "state") },
      snapshot: {
        ...settings.snapshot,
        directory: join(volume, "snapshots"),
        warm_from: service.url,
        warm_token_file: join(folder, "warm.token"),
      },
    });
    pods.add(pod);
    pod.authorize(TOKEN);
    await until("the pod is ready", async () => (await pod.fetch("/readyz")).status === 200);
    return pod;
  };

  const first = await startPod();
  await engine.serve(10);
  await caughtUp(first, [engine]);
  const model = "test/model";
  const prompt = { model, token_ids: [...engine.firstPrompt] };
  const ask = async (): Promise<{ decision: string; blocks: number }> => {
    const headers = {
      authorization: `Bearer ${TOKEN}`,
      "content-type": "application/json",
      connection: "close",
    };
    const response = await fetch(`${service.url}/api/v1/match`, {
      method: "POST",
      headers,
      body: JSON.stringify(prompt),
    });
    const answer = (await response.json()) as { decision: string; matches: { matched_blocks: number }[] };
    return { decision: answer.decision, blocks: answer.matches[0]?.matched_blocks ?? 0 };
  };
  service.pods = [first];
  const warm = await ask();
  expect(warm.blocks).toBeGreaterThan(0);
  // The first prompt's messages leave the engine's history.
  await engine.serve(1500);
  // A publisher proves itself by a message that is 5 to 10 s old: from here on the history has one.
  const beganMs = performance.now();
  await until("the history covers the proof", async () => {
    await engine.serve(1);
    return performance.now() - beganMs > 11_000;
  });
  await caughtUp(first, [engine]);
  let running = [first, await startPod()];
  service.pods = running;

  const over = new AbortController();
  const answers: { decision: string; blocks: number }[] = [];
  const load = (async () => {
    while (!over.signal.aborted) {
      answers.push(await ask());
      if (answers.length % 32 === 0) await engine.serve(1);
    }
  })();
  for (const old of [...running]) {
    const fresh = await startPod();
    expect(fresh.log.find(({ event }) => event === "snapshot_loaded")).toMatchObject({ origin: "sibling" });
    running = [...running.filter((pod) => pod !== old), fresh];
    // The endpoints forget a pod before it is told to stop: the manifest's preStop.
    service.pods = running;
    await until("the last answers are out", () => Promise.resolve(answers.length > 0));
    pods.delete(old);
    await old.end();
  }
  over.abort();
  await load;
  expect(answers.length).toBeGreaterThan(10);
  expect(answers.filter(({ blocks }) => blocks < warm.blocks)).toEqual([]);
  await caughtUp(running[0] ?? first, [engine]);
  for (const pod of running) {
    await caughtUp(pod, [engine]);
    expect(await audit(pod, [engine])).toEqual([]);
  }
});

interface Readiness {
  readonly status: "ready" | "not_ready";
  readonly reason: string;
  readonly conditions: readonly { readonly name: string; readonly ok: boolean; readonly reason: string }[];
}

async function readinessOf(daemon: DaemonProcess): Promise<Readiness> {
  return (await (await daemon.fetch("/readyz?verbose")).json()) as Readiness;
}

/** A replica that no other one gives a snapshot. */
async function coldReplica(engine: TestEngine, deadlineSeconds: number): Promise<DaemonProcess> {
  const service = await Service.start();
  const daemon = await DaemonProcess.start({
    engines: [engine.entry],
    snapshot: { enabled: true, warm_from: service.url },
    readiness: { deadline_seconds: deadlineSeconds },
  });
  onTestFinished(async () => {
    await daemon.end("SIGKILL");
    service.stop();
    await engine.stop();
  });
  expect(daemon.log.filter(({ event }) => event === "snapshot_refused")).toMatchObject([
    { code: "fetch_failed" },
  ]);
  return daemon;
}

test("a replica that began without a snapshot, and whose engines' histories are too short, gets traffic only after the deadline, and says why", async () => {
  const engine = await TestEngine.start({ id: "a", blockCount: 50_000 }, 6, { bufferSteps: 20 });
  await engine.serve(100);
  const daemon = await coldReplica(engine, 8);
  const waiting = await until("its engine is followed", async () => {
    const report = await readinessOf(daemon);
    return report.reason === "waiting_for_index" ? report : null;
  });
  expect(waiting.status).toBe("not_ready");
  expect(waiting.conditions.find(({ name }) => name === "index")).toEqual({
    name: "index",
    ok: false,
    reason: "began without a snapshot, and 1 of 1 ranks are not exact",
  });
  const ready = await until("the deadline passes", async () => {
    const report = await readinessOf(daemon);
    return report.status === "ready" ? report : null;
  });
  expect(ready.reason).toBe("deadline_passed");
  expect(ready.conditions.find(({ name }) => name === "index")?.ok).toBe(false);
});

test("a replica that began without a snapshot is ready at once when the engines' histories are whole", async () => {
  const engine = await TestEngine.start({ id: "a", blockCount: 50_000 }, 7);
  await engine.serve(10);
  const daemon = await coldReplica(engine, 600);
  const ready = await until("it is ready", async () => {
    const report = await readinessOf(daemon);
    return report.status === "ready" ? report : null;
  });
  expect(ready.reason).toBe("in_sync");
  expect(ready.conditions.find(({ name }) => name === "index")).toMatchObject({
    ok: true,
    reason: "began without a snapshot",
  });
});
