/**
 * The import against an HTTP server on loopback that answers as Grafana's API documents. It has
 * folders and dashboards by uid, versions that must match, and the documented statuses. Time
 * between attempts is faked; everything else is real.
 */
import { spawn, spawnSync } from "node:child_process";
import { createServer, type IncomingMessage, type Server } from "node:http";
import { createServer as createHttpsServer } from "node:https";
import type { AddressInfo } from "node:net";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";

import { afterEach, beforeEach, describe, expect, test } from "vitest";

import type { Json } from "../dashboards/grafana.ts";
import { GrafanaApi, GrafanaError } from "./grafana-api.ts";
import { importDashboards } from "./import-dashboards.ts";

const TOKEN = "glsa_test";

interface Stored {
  dashboard: Record<string, Json> & { uid: string };
  folderUid: string;
}

interface Fault {
  readonly status: number;
  /** Text is sent as it is, as a page. */
  readonly body?: object | string;
  readonly headers?: Record<string, string>;
  /** Ends the connection in the middle of the body. */
  readonly cut?: boolean;
}

/** Grafana, as far as the import sees it. */
class FakeGrafana {
  readonly folders = new Map<string, string>();
  readonly dashboards = new Map<string, Stored>();
  /** Uids of dashboards that come from files there. */
  readonly provisioned = new Set<string>();
  readonly requests: string[] = [];
  /** Whom `/api/health` says to be, and the tokens that it was asked with. */
  health: Fault = { status: 200, body: { database: "ok", version: "12.0.0", commit: "abc" } };
  readonly healthTokens: (string | null)[] = [];
  /** Answers to give instead of the proper ones, first to last. */
  faults: Fault[] = [];
  /** Saves to do and then cut the connection. */
  dropAfterSave = 0;
  readonly #server: Server;

  constructor() {
    this.#server = createServer((request, response) => {
      void this.#answer(request).then(({ status, body = {}, headers, drop, cut }) => {
        if (drop === true) {
          request.socket.destroy();
          return;
        }
        const type = typeof body === "string" ? "text/html" : "application/json";
        const sent = typeof body === "string" ? body : JSON.stringify(body);
        response.writeHead(status, { "content-type": type, "content-length": sent.length, ...headers });
        if (cut === true) response.write(sent.slice(0, 5), () => request.socket.destroy());
        else response.end(sent);
      });
    });
  }

  async start(): Promise<string> {
    await new Promise<void>((resolve) => this.#server.listen(0, "127.0.0.1", resolve));
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async #answer(request: IncomingMessage): Promise<Fault & { readonly drop?: boolean }> {
    const line = `${request.method ?? ""} ${request.url ?? ""}`;
    this.requests.push(line);
    const content = await text(request);
    if (line === "GET /api/health") {
      this.healthTokens.push(request.headers.authorization ?? null);
      return this.health;
    }
    const fault = this.faults.shift();
    if (fault !== undefined) return { body: { message: "fault" }, ...fault };
    if (request.headers.authorization !== `Bearer ${TOKEN}`)
      return { status: 401, body: { message: "Invalid API key" } };
    if (line === "POST /api/folders") {
      const { uid, title } = JSON.parse(content) as { uid: string; title: string };
      if ([...this.folders.values()].includes(title))
        return { status: 412, body: { message: "a folder with the same name exists" } };
      this.folders.set(uid, title);
      return { status: 200, body: { uid, title } };
    }
    if (line === "POST /api/dashboards/db")
      return this.#save(JSON.parse(content) as Stored & { overwrite: boolean });
    const uid = line.split("/").at(-1) ?? "";
    if (line.startsWith("GET /api/folders/")) {
      const title = this.folders.get(uid);
      return title === undefined
        ? { status: 404, body: { message: "folder not found" } }
        : { status: 200, body: { uid, title } };
    }
    const stored = this.dashboards.get(uid);
    if (stored === undefined) return { status: 404, body: { message: "Dashboard not found" } };
    const meta = { folderUid: stored.folderUid, provisioned: this.provisioned.has(uid) };
    return { status: 200, body: { dashboard: stored.dashboard, meta } };
  }

  #save({ dashboard, folderUid }: Stored): Fault & { readonly drop?: boolean } {
    const { uid } = dashboard;
    const version = Number(this.dashboards.get(uid)?.dashboard["version"] ?? 0);
    if (dashboard["version"] !== version)
      return {
        status: 412,
        body: { status: "version-mismatch", message: "The dashboard has been changed by someone else" },
      };
    this.dashboards.set(uid, { dashboard: { ...dashboard, id: 7, version: version + 1 }, folderUid });
    const drop = this.dropAfterSave > 0;
    if (drop) this.dropAfterSave -= 1;
    return { status: 200, body: { uid, version: version + 1, status: "success" }, drop };
  }
}

const BOARDS = [
  { uid: "a", title: "Board A", panels: [{ id: 1, title: "One", targets: [{ expr: "up" }] }], tags: ["x"] },
  { uid: "b", title: "Board B", panels: [], tags: [] },
];

const FOLDER = { uid: "kvsync", title: "KV sync" };

describe("importing into a Grafana", () => {
  let grafana: FakeGrafana;
  let base: string;
  let waits: number[];
  let lines: string[];

  beforeEach(async () => {
    grafana = new FakeGrafana();
    base = await grafana.start();
    waits = [];
    lines = [];
  });
  afterEach(async () => {
    await grafana.stop();
  });

  function run(options: { dashboards?: typeof BOARDS; dryRun?: boolean; token?: string } = {}) {
    const api = new GrafanaApi(base, options.token ?? TOKEN, (ms) => {
      waits.push(ms);
      return Promise.resolve();
    });
    const plan = {
      folder: FOLDER,
      dashboards: options.dashboards ?? BOARDS,
      dryRun: options.dryRun ?? false,
      message: "test",
    };
    return importDashboards(api, plan, (line) => lines.push(line));
  }

  async function failure(options: Parameters<typeof run>[0] = {}): Promise<GrafanaError> {
    const error: unknown = await run(options).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(GrafanaError);
    return error as GrafanaError;
  }

  test("an empty Grafana gets the folder and every dashboard in it", async () => {
    expect(await run()).toEqual({ created: 2, updated: 0, unchanged: 0, failed: 0 });
    expect(grafana.folders).toEqual(new Map([[FOLDER.uid, FOLDER.title]]));
    expect([...grafana.dashboards.values()].map(({ folderUid }) => folderUid)).toEqual([
      FOLDER.uid,
      FOLDER.uid,
    ]);
  });

  test("a second run changes nothing, and saves nothing", async () => {
    await run();
    grafana.requests.length = 0;
    expect(await run()).toEqual({ created: 0, updated: 0, unchanged: 2, failed: 0 });
    expect(grafana.requests.filter((line) => line.startsWith("POST"))).toEqual([]);
  });

  test("keys that Grafana adds are no difference; a changed, added or missing value is, and is named", async () => {
    await run();
    const stored = grafana.dashboards.get("a")!;
    stored.dashboard = { ...stored.dashboard, gnetId: null, weekStart: "" };
    expect((await run()).unchanged).toBe(2);
    stored.dashboard["panels"] = [
      { id: 1, title: "One", targets: [{ expr: "down" }] },
      { id: 2, title: "Mine" },
    ];
    lines = [];
    expect((await run()).updated).toBe(1);
    expect(lines).toContain('    panels[0 "One"].targets[0].expr: "down" → "up"');
    expect(lines).toContain('    panels[1 "Mine"]: {"id":2,"title":"Mine"} → (nothing)');
    expect(grafana.dashboards.get("a")?.dashboard["version"]).toBe(2);
  });

  test("a dashboard in another folder is moved back", async () => {
    await run();
    grafana.dashboards.get("b")!.folderUid = "general";
    expect((await run()).updated).toBe(1);
    expect(lines).toContain('    folder: "general" → "kvsync"');
    expect(grafana.dashboards.get("b")?.folderUid).toBe(FOLDER.uid);
  });

  test("a dry run says what it would do and does nothing", async () => {
    expect(await run({ dryRun: true })).toEqual({ created: 2, updated: 0, unchanged: 0, failed: 0 });
    expect(grafana.requests.filter((line) => line.startsWith("POST"))).toEqual([]);
    expect(lines[0]).toBe('would create folder "KV sync" (kvsync)');
    expect(lines[1]).toBe('would be created a "Board A"');
  });

  test("what passes by itself is tried again, ever later, and as late as the server asks", async () => {
    grafana.faults = [
      { status: 503 },
      { status: 502 },
      { status: 429, headers: { "retry-after": "7" } },
      { status: 504 },
    ];
    expect((await run()).created).toBe(2);
    expect(waits).toEqual([500, 1000, 7000, 4000]);
  });

  test("a server that stays unavailable ends the import with the number of attempts", async () => {
    grafana.faults = Array.from({ length: 5 }, () => ({ status: 503 }));
    const error = await failure();
    expect(error.facts).toMatchObject({
      code: "unavailable",
      status: 503,
      request: "GET /api/folders/kvsync",
    });
    expect(error.message).toContain("after 5 attempts");
  });

  test("a server that is not there is named by its address", async () => {
    await grafana.stop();
    const error = await failure();
    expect(error.facts).toMatchObject({ code: "unavailable", status: null });
    expect(error.message).toContain(base);
    expect(waits).toHaveLength(4);
    grafana = new FakeGrafana();
    await grafana.start();
  });

  test("401 says that the token is not valid, and does not repeat it", async () => {
    const error = await failure({ token: "glsa_wrong" });
    expect(error.facts).toMatchObject({ code: "unauthorized", status: 401, detail: "Invalid API key" });
    expect(error.message).toContain("GRAFANA_TOKEN is not valid");
    expect(error.message).not.toContain("glsa_wrong");
  });

  test("403 names the permissions that are missing", async () => {
    grafana.faults = [{ status: 403, body: { message: "Permission denied" } }];
    const error = await failure();
    expect(error.facts.code).toBe("forbidden");
    expect(error.message).toContain("dashboards:write");
  });

  test.each([
    [412, { status: "version-mismatch", message: "changed" }, "run the import again"],
    [412, { status: "name-exists", message: "exists" }, "another dashboard of this title"],
    [412, { status: "plugin-dashboard", message: "plugin" }, "must be changed at its source"],
    [422, { message: "Validation failed", error: "panels: bad" }, "does not accept the content"],
    [400, { message: "Cannot save provisioned dashboard" }, "provisioned from a file"],
    [418, { message: "teapot" }, "is GRAFANA_URL the address of a Grafana"],
    [500, { message: "database is locked" }, "its own log has the cause"],
  ])(
    "%i on saving one dashboard (%j) is explained, and the other is still imported",
    async (status, body, advice) => {
      grafana.folders.set(FOLDER.uid, FOLDER.title);
      // GET a, POST a.
      grafana.faults = [{ status: 200, body: { title: FOLDER.title } }, { status: 404 }, { status, body }];
      if (status === 412) grafana.faults.push({ status: 404 });
      expect(await run()).toEqual({ created: 1, updated: 0, unchanged: 0, failed: 1 });
      const line = lines.find((text_) => text_.startsWith("failed"));
      expect(line).toContain(`POST /api/dashboards/db: status ${status}`);
      expect(line).toContain(advice);
      expect(lines.filter((text_) => text_.includes('"Board A"'))).toEqual([]);
      expect([...grafana.dashboards.keys()]).toEqual(["b"]);
    },
  );

  test("a save whose answer was lost is found to be done, not reported as a conflict", async () => {
    grafana.dropAfterSave = 1;
    expect(await run()).toEqual({ created: 2, updated: 0, unchanged: 0, failed: 0 });
    expect(grafana.dashboards.get("a")?.dashboard["version"]).toBe(1);
  });

  test("a folder that somebody else has made meanwhile is taken; one of the same title under another uid is a conflict", async () => {
    grafana.faults = [{ status: 404 }, { status: 409 }];
    grafana.folders.set(FOLDER.uid, FOLDER.title);
    expect((await run()).created).toBe(2);
    grafana.folders.clear();
    grafana.folders.set("other", FOLDER.title);
    expect((await failure()).message).toContain("another folder has this title");
  });

  test("a redirect is not followed, and said to be one at once", async () => {
    grafana.faults = [{ status: 302, headers: { location: "/login?redirect=%2Fsecret" } }];
    const error = await failure();
    expect(error.facts).toMatchObject({ code: "unexpected_answer", status: 302, detail: "to /login" });
    expect(error.message).toContain("no login page before it");
    expect(waits).toEqual([]);
  });

  test.each([200, 404])(
    "a page with status %i is no Grafana's answer, in a dry run neither",
    async (status) => {
      grafana.faults = [{ status, body: "<html>Welcome</html>" }];
      const error = await failure({ dryRun: true });
      expect(error.facts).toMatchObject({
        code: "unexpected_answer",
        status,
        detail: "<html>Welcome</html>",
      });
    },
  );

  test("an answer that breaks off is asked for again, and in the end named", async () => {
    grafana.faults = [{ status: 200, body: { title: FOLDER.title }, cut: true }];
    expect((await run()).created).toBe(2);
    expect(waits).toEqual([500]);
    grafana.faults = Array.from({ length: 5 }, () => ({ status: 200, cut: true }));
    const error = await failure();
    expect(error.facts).toMatchObject({ code: "unavailable", status: null });
    expect(error.facts.detail).toContain("terminated: ");
  });

  test("a dashboard that is read from a file there is not touched, and a dry run says so too", async () => {
    await run();
    grafana.provisioned.add("a");
    expect(await run()).toEqual({ created: 0, updated: 0, unchanged: 2, failed: 0 });
    const changed = BOARDS.map((board) => ({ ...board, tags: ["other"] }));
    for (const dryRun of [true, false]) {
      lines = [];
      expect(await run({ dashboards: changed, dryRun })).toEqual({
        created: 0,
        updated: 1,
        unchanged: 0,
        failed: 1,
      });
      expect(lines.find((line) => line.startsWith("failed"))).toContain("reads this dashboard from a file");
    }
    expect(grafana.dashboards.get("a")?.dashboard["tags"]).toEqual(["x"]);
  });

  test.each<[string, Fault]>([
    ["another program with JSON", { status: 200, body: { status: "UP" } }],
    ["a web page", { status: 200, body: "<html>Welcome</html>" }],
    ["a server without that path", { status: 404, body: { message: "not found" } }],
  ])("%s at the address gets neither the token nor a dashboard", async (_, health) => {
    grafana.health = health;
    await expect(run()).rejects.toThrow(/GET \/api\/health.*is GRAFANA_URL/);
    expect(grafana.requests).toEqual(["GET /api/health"]);
    expect(grafana.healthTokens).toEqual([null]);
  });

  test("an answer that is no Grafana's is said to be none", async () => {
    grafana.folders.set(FOLDER.uid, FOLDER.title);
    grafana.faults = [
      { status: 200, body: { title: "x" } },
      { status: 200, body: { hello: "world" } },
    ];
    await run();
    expect(lines.find((text_) => text_.startsWith("failed"))).toContain("is GRAFANA_URL a Grafana?");
  });
});

describe("the command", () => {
  const MAIN = join(import.meta.dirname, "..", "..", "dist", "main.js");

  async function command(
    args: string[],
    env: Record<string, string>,
  ): Promise<{ code: number | null; out: string; err: string }> {
    const child = spawn(process.execPath, [MAIN, ...args], {
      env: { PATH: process.env["PATH"] ?? "", ...env },
    });
    const [out, err, code] = await Promise.all([
      text(child.stdout),
      text(child.stderr),
      new Promise<number | null>((resolve) => child.on("close", resolve)),
    ]);
    return { code, out, err };
  }

  test("settings that are missing or unusable are named, with what is expected", async () => {
    expect(existsSync(MAIN), "build first").toBe(true);
    const unset = await command(["import"], {});
    expect(unset.code).toBe(2);
    expect(unset.err).toContain("GRAFANA_URL is not set; expected an http or https address");
    const scheme = await command(["import"], { GRAFANA_URL: "ftp://127.0.0.1", GRAFANA_TOKEN: "x" });
    expect(scheme.err).toContain('GRAFANA_URL is "ftp://127.0.0.1"; expected an http or https address');
    const query = await command(["import"], { GRAFANA_URL: "http://127.0.0.1/?orgId=1", GRAFANA_TOKEN: "x" });
    expect([query.code, query.err]).toEqual([2, expect.stringContaining("without user, query or fragment")]);
    const token = await command(["import"], { GRAFANA_URL: "http://127.0.0.1:1" });
    expect(token.err).toContain("GRAFANA_TOKEN is not set");
    const option = await command(["import", "--dry"], {});
    expect([option.code, option.err]).toEqual([2, expect.stringContaining("usage:")]);
    expect((await command(["push"], {})).err).toContain('unknown command "push"');
  });

  test("neither a password in the address nor an unusable token is repeated", async () => {
    const user = await command(["import"], {
      GRAFANA_URL: "http://me:hunter2@127.0.0.1",
      GRAFANA_TOKEN: "x",
    });
    expect([user.code, user.err]).toEqual([
      2,
      expect.stringContaining("GRAFANA_URL carries a user or password"),
    ]);
    expect(user.err).not.toContain("hunter2");
    const token = await command(["import"], {
      GRAFANA_URL: "http://127.0.0.1",
      GRAFANA_TOKEN: "glsa_a\nglsa_b",
    });
    expect([token.code, token.err]).toEqual([2, expect.stringContaining("GRAFANA_TOKEN has white space")]);
    expect(token.err).not.toContain("glsa_");
  });

  test("a certificate that is not trusted is said to be the cause, at once", async () => {
    const folder = mkdtempSync(join(tmpdir(), "kvsync-import-"));
    const [key, cert] = [join(folder, "key.pem"), join(folder, "cert.pem")];
    const made = spawnSync("openssl", [
      ..."req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 -subj /CN=localhost".split(
        " ",
      ),
      ...["-keyout", key, "-out", cert],
    ]);
    expect(made.status).toBe(0);
    const server = createHttpsServer({ key: readFileSync(key), cert: readFileSync(cert) });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    try {
      const url = `https://127.0.0.1:${(server.address() as AddressInfo).port}`;
      const { code, err } = await command(["import", "--example-links"], {
        GRAFANA_URL: url,
        GRAFANA_TOKEN: TOKEN,
      });
      expect([code, err]).toEqual([1, expect.stringContaining("self-signed certificate")]);
      expect(err).toContain("NODE_EXTRA_CA_CERTS");
    } finally {
      server.close();
      rmSync(folder, { recursive: true });
    }
  });

  test("dashboards that link to a placeholder are refused unless that is asked for", async () => {
    const folder = mkdtempSync(join(tmpdir(), "kvsync-import-"));
    const grafana = new FakeGrafana();
    const base = await grafana.start();
    try {
      const links = [{ title: "Runbook", url: "https://runbooks.kvsync.example/worker-down.md" }];
      const panels = [{ id: 1, title: "One", links }];
      writeFileSync(join(folder, "a.json"), JSON.stringify({ uid: "a", title: "Board A", panels }));
      const env = { GRAFANA_URL: base, GRAFANA_TOKEN: TOKEN };
      const refused = await command(["import", "--dir", folder], env);
      expect([refused.code, refused.err]).toEqual([
        2,
        expect.stringContaining('"Board A" links to https://runbooks.kvsync.example/worker-down.md'),
      ]);
      expect(refused.err).toContain("--runbooks-url");
      expect(grafana.requests).toEqual([]);
      const wanted = await command(["import", "--dir", folder, "--example-links"], env);
      expect(wanted.code).toBe(0);
    } finally {
      await grafana.stop();
      rmSync(folder, { recursive: true });
    }
  });

  test("targets, Alertmanager and channels are options, and each unusable one is named", async () => {
    const root = mkdtempSync(join(tmpdir(), "kvsync-generate-"));
    const generate = (...options: string[]) => command(["generate", "--root", root, ...options], {});
    try {
      const { code, out } = await generate(
        ...["--target", "10.0.0.1:7070", "--target", "[::1]:7071", "--alertmanager", "alerts:9094"],
        ...["--slack-channel", "kvsync=#cache", "--slack-channel", "monitoring=#meta"],
      );
      expect([code, out]).toEqual([0, expect.stringContaining("wrote: infra/prometheus/prometheus.yaml")]);
      const prometheus = readFileSync(join(root, "infra/prometheus/prometheus.yaml"), "utf8");
      expect(prometheus).toContain('- 10.0.0.1:7070\n          - "[::1]:7071"');
      expect(prometheus.match(/alerts:9094/g)).toHaveLength(2);
      expect(prometheus).not.toContain("kubernetes_sd_configs");
      const alertmanager = readFileSync(join(root, "infra/alertmanager/alertmanager.yaml"), "utf8");
      const channels = [...alertmanager.matchAll(/channel: "(.*)"/g)].map(([, channel]) => channel);
      expect([...new Set(channels)].sort()).toEqual(["#cache", "#meta", "#platform-alerts"]);
      await generate("--alert-prefix", "KVSync", "--without-group", "kvsync-platform");
      const rules = readFileSync(join(root, "infra/prometheus/kvsync.rules.yaml"), "utf8");
      expect(rules).toContain("alert: KVSyncHighErrorRate\n");
      expect(rules).not.toContain("PodDown");
      for (const [option, text_, expected] of [
        ["--target", "daemon", "expected host:port"],
        ["--alertmanager", "http://alerts:9094", "expected host:port"],
        ["--slack-channel", "kvsync=cache", "expected TEAM=#CHANNEL"],
        ["--slack-channel", "sales=#cache", "TEAM is kvsync, platform, monitoring"],
        ["--alert-prefix", "kv-", "expected a word in CamelCase of at most 12 characters"],
        ["--without-group", "platform", "kvsync-platform"],
      ] as const) {
        const refused = await generate(option, text_);
        expect([refused.code, refused.err]).toEqual([2, expect.stringContaining(`${option} is "${text_}"`)]);
        expect(refused.err).toContain(expected);
      }
    } finally {
      rmSync(root, { recursive: true });
    }
  });

  test("files are read from a folder, and the outcome is one line and an exit code", async () => {
    const folder = mkdtempSync(join(tmpdir(), "kvsync-import-"));
    const grafana = new FakeGrafana();
    const base = await grafana.start();
    try {
      for (const board of BOARDS) writeFileSync(join(folder, `${board.uid}.json`), JSON.stringify(board));
      // As such settings come: with a slash at the end, and a line break after what was read from a file.
      const env = { GRAFANA_URL: `${base}/`, GRAFANA_TOKEN: `${TOKEN}\n` };
      const dry = await command(["import", "--dry-run", "--dir", folder], env);
      expect([dry.code, dry.out.trim().split("\n").at(-1)]).toEqual([
        0,
        "would be: 2 created, 0 updated, 0 unchanged, 0 failed",
      ]);
      const real = await command(["import", "--dir", folder], env);
      expect([real.code, real.out.trim().split("\n").at(-1)]).toEqual([
        0,
        "2 created, 0 updated, 0 unchanged, 0 failed",
      ]);
      const refused = await command(["import", "--dir", folder], { ...env, GRAFANA_TOKEN: "no" });
      expect([refused.code, refused.err]).toEqual([1, expect.stringContaining("GRAFANA_TOKEN is not valid")]);
    } finally {
      await grafana.stop();
      rmSync(folder, { recursive: true });
    }
  });
});
