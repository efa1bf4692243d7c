/**
 * A daemon in front of an API server that fails, in each way that API servers and proxies in front of
 * them fail. During each fault the process stays, answers lookups from the engine found before, and
 * keeps following it. After it, the daemon follows a pod that came meanwhile.
 */
import { writeFileSync } from "node:fs";

import { afterAll, beforeAll, expect, test } from "vitest";

import { Authority } from "./certificates.ts";
import { Cluster, type Refusal } from "./cluster.ts";
import { DaemonProcess } from "./daemon-process.ts";
import { caughtUp, TestEngine, until } from "./fleet.ts";

const MODEL = "test/model";
const REQUEST_SECONDS = 0.5;
const HTML = "<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>\n";

/** One way to fail. */
interface Fault {
  readonly name: string;
  /** Begins it; called when a watch of each namespace is open. */
  readonly begin: () => void | Promise<void>;
  /** The reason in the source's failure; null for a fault that is none, since nothing is missed. */
  readonly reason: RegExp | null;
  /** Ends it, beside `heal`. */
  readonly end?: () => void | Promise<void>;
  /** Whether no list is needed after it. */
  readonly continues?: boolean;
}

let authority: Authority;
let cluster: Cluster;
let daemon: DaemonProcess;
let engine: TestEngine;
let kubeconfig: () => string;
let pods = 0;

const refuseMany = (refusal: Refusal): void => {
  cluster.refuse(...Array.from({ length: 200 }, () => refusal));
  cluster.drop();
};

const FAULTS: readonly Fault[] = [
  {
    name: "401 after the token has expired",
    begin: () => {
      cluster.token = "second";
      cluster.drop();
    },
    reason: /unauthorized/,
    end: () => {
      writeFileSync(cluster.tokenFile, "second");
    },
  },
  {
    name: "403 for one of two namespaces",
    begin: () => {
      cluster.forbidden.add("other");
      cluster.drop();
    },
    reason: /forbidden/,
    end: () => {
      cluster.forbidden.clear();
    },
  },
  {
    name: "410 as an event of the watch",
    begin: () => {
      cluster.goneInStream = true;
      cluster.forgetsEverything = true;
      cluster.drop();
    },
    reason: null,
    end: () => {
      cluster.forgetsEverything = false;
    },
  },
  {
    name: "410 as a status",
    begin: () => {
      cluster.goneInStream = false;
      cluster.forgetsEverything = true;
      cluster.drop();
    },
    reason: null,
    end: () => {
      cluster.forgetsEverything = false;
    },
  },
  {
    name: "429 with Retry-After",
    begin: () => {
      refuseMany({ status: 429, retryAfterSeconds: 1 });
    },
    reason: /throttled/,
  },
  {
    name: "500",
    begin: () => {
      refuseMany({ status: 500 });
    },
    reason: /server_error/,
  },
  {
    name: "an HTML page of a proxy with status 502",
    begin: () => {
      refuseMany({ status: 502, html: HTML });
    },
    reason: /server_error/,
  },
  {
    name: "an HTML page of a proxy with status 200",
    begin: () => {
      refuseMany({ status: 200, html: HTML });
    },
    reason: /malformed/,
  },
  {
    name: "connections reset in the middle of a watch",
    begin: () => {
      cluster.reset();
    },
    reason: null,
    continues: true,
  },
  {
    name: "half an event, and then a reset",
    begin: async () => {
      cluster.inject('{"type":"ADDED","object":{"kind":"Pod","metadata":{"na');
      await new Promise(setImmediate);
      cluster.reset();
    },
    reason: null,
    continues: true,
  },
  {
    name: "bookmarks and no event, and then a history that begins with the last bookmark",
    begin: async () => {
      cluster.sendsOnlyBookmarks = true;
      // Changes of pods that the selector does not match move the version all the same.
      cluster.add("unrelated", "10.9.9.9");
      cluster.remove("serving/unrelated");
      cluster.bookmark();
      await until("the bookmark has arrived", async () => {
        await lookup();
        return true;
      });
      cluster.compact();
      cluster.endWatches();
    },
    reason: null,
    continues: true,
  },
  {
    name: "another certificate of the same authority",
    begin: async () => {
      cluster.certify(await authority.sign("127.0.0.1"));
    },
    reason: null,
    continues: true,
  },
  {
    name: "a certificate of another authority, whose certificate comes later",
    begin: async () => {
      authority = await Authority.make();
      cluster.certify(await authority.sign("127.0.0.1"));
    },
    reason: /unreachable/,
    end: () => {
      kubeconfig();
    },
  },
  {
    name: "answers that do not begin",
    begin: () => {
      cluster.isHanging = true;
      cluster.drop();
    },
    reason: /timeout/,
  },
  {
    name: "lists that come byte by byte",
    begin: () => {
      cluster.trickle = { bytes: 1, pauseMs: 50 };
      cluster.compact();
      cluster.drop();
    },
    reason: /timeout/,
  },
  {
    name: "lists that are slow and come to their end",
    begin: () => {
      cluster.trickle = { bytes: 400, pauseMs: 20 };
      cluster.compact();
      cluster.drop();
    },
    reason: null,
  },
];

async function lookup(): Promise<number> {
  const response = await daemon.fetch("/api/v1/match", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ model: MODEL, token_ids: [...engine.firstPrompt] }),
  });
  expect(response.status).toBe(200);
  const { decision, matches } = (await response.json()) as {
    decision: string;
    matches: { worker: string; matched_blocks: number }[];
  };
  expect(decision).not.toBe("fallback");
  return matches.find(({ worker }) => worker === "serving/engine")?.matched_blocks ?? 0;
}

/** What the source `kubernetes` reports of itself. */
async function source(): Promise<{ state: string; failure: { reason: string; message: string } | null }> {
  const response = await daemon.fetch("/api/v1/engines");
  const { sources } = (await response.json()) as {
    sources: { source: string; state: string; failure: { reason: string; message: string } | null }[];
  };
  const found = sources.find((one) => one.source === "kubernetes");
  if (found === undefined) throw new Error("the daemon has no source kubernetes");
  return found;
}

const ids = async (): Promise<string[]> => (await daemon.engines()).map(({ id }) => id);

beforeAll(async () => {
  authority = await Authority.make();
  cluster = await Cluster.start(await authority.sign("127.0.0.1"));
  cluster.token = "first";
  kubeconfig = () => cluster.kubeconfig({ ca: authority.cert, token: cluster.token ?? "" });
  engine = await TestEngine.start({ id: "serving/engine", blockCount: 20_000 }, 3);
  const port = (endpoint: string | null): string => /:(\d+)$/.exec(endpoint ?? "")?.[1] ?? "";
  cluster.add("engine", "127.0.0.1", {
    annotations: {
      "model.aibrix.ai/name": MODEL,
      "model.aibrix.ai/kv-events-port": port(engine.server.endpoint),
      "model.aibrix.ai/kv-events-replay-port": port(engine.server.replayEndpoint),
    },
  });
  const times = { retry_seconds_min: 0.02, retry_seconds_max: 0.2, request_timeout_seconds: REQUEST_SECONDS };
  const kubernetes = { enabled: true, kubeconfig: kubeconfig(), namespaces: ["serving", "other"], ...times };
  daemon = await DaemonProcess.start({ discovery: { kubernetes } });
  await engine.serve(5);
  await caughtUp(daemon, [engine]);
});

afterAll(async () => {
  await daemon.end("SIGKILL");
  await engine.stop();
  await cluster.stop();
});

test.each(FAULTS)("$name leaves the daemon up and serving", async ({ begin, reason, end, continues }) => {
  const blocks = await lookup();
  expect(blocks).toBeGreaterThan(0);
  await until("each namespace is watched", () => Promise.resolve(cluster.openWatches === 2));
  const lists = cluster.counts.list;
  await begin();
  if (reason !== null)
    await until("the source names the fault", async () => {
      const { state, failure } = await source();
      return state === "stale" && reason.test(failure?.reason ?? "");
    });
  // What is not to be found meanwhile costs no lookup, and what is known is followed on.
  await engine.serve(1);
  await caughtUp(daemon, [engine]);
  expect(await lookup()).toBe(blocks);
  expect((await daemon.fetch("/readyz")).status).toBe(200);
  expect(await ids()).toContain("serving/engine");

  const name = `late-${(pods += 1)}`;
  cluster.heal();
  await end?.();
  // Its port is closed: it is known, which is what matters here.
  cluster.add(name, `127.0.0.${pods + 1}`, { annotations: { "model.aibrix.ai/name": MODEL } });
  await until("the daemon follows a pod that came meanwhile", async () =>
    (await ids()).includes(`serving/${name}`),
  );
  await until("the source is current", async () => (await source()).state === "current");
  if (continues === true) expect(cluster.counts.list).toBe(lists);
  cluster.remove(`serving/${name}`);
  await until("the daemon follows it no more", async () => !(await ids()).includes(`serving/${name}`));
  expect(await lookup()).toBe(blocks);
});

test("no fault ended the process, and none was logged as an error of the daemon itself", () => {
  const events = new Set(daemon.log.map(({ event }) => event));
  for (const event of ["crash", "start_failed", "ingest_died"]) expect(events).not.toContain(event);
  expect(daemon.log.filter(({ event }) => event === "listening").length).toBeLessThan(2);
});
