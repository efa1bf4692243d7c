/**
 * The import against an HTTP server on loopback that answers as Grafana's API documents. It has
 * folders and dashboards by uid, versions that must match, and the documented statuses. Time
 * between attempts is faked; everything else is real.
 */
import { afterEach, beforeEach, describe, expect, test } from "vitest";

import { GrafanaApi, GrafanaError } from "./grafana-api.ts";
import { importDashboards } from "./import-dashboards.ts";
import { BOARDS, FakeGrafana, type Fault, TOKEN } from "./testing/grafana-stand-in.ts";

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
