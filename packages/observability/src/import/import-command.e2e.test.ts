/**
 * The commands `import` and `generate` as processes: options, settings, exit codes and what they print. Grafana is a server on
 * loopback.
 */
import { spawn, spawnSync } from "node:child_process";
import { createServer as createHttpsServer } from "node:https";
import type { AddressInfo } from "node:net";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";

import { describe, expect, test } from "vitest";

import { BOARDS, FakeGrafana, TOKEN } from "./testing/grafana-stand-in.ts";

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
        ...["--slack-channel", "kvsync=#cache", "--slack-channel", "monitoring=#meta", "--pagerduty"],
      );
      expect([code, out]).toEqual([0, expect.stringContaining("wrote: infra/prometheus/prometheus.yaml")]);
      const prometheus = readFileSync(join(root, "infra/prometheus/prometheus.yaml"), "utf8");
      expect(prometheus).toContain('- 10.0.0.1:7070\n          - "[::1]:7071"');
      expect(prometheus.match(/alerts:9094/g)).toHaveLength(2);
      expect(prometheus).not.toContain("kubernetes_sd_configs");
      const alertmanager = readFileSync(join(root, "infra/alertmanager/alertmanager.yaml"), "utf8");
      const channels = [...alertmanager.matchAll(/channel: "(.*)"/g)].map(([, channel]) => channel);
      expect([...new Set(channels)].sort()).toEqual(["#cache", "#meta", "#platform-alerts"]);
      expect(alertmanager.match(/pagerduty_configs/g)).toHaveLength(3);
      await generate("--alert-prefix", "KVSync", "--without-group", "kvsync-platform");
      const rules = readFileSync(join(root, "infra/prometheus/kvsync.rules.yaml"), "utf8");
      expect(rules).toContain("alert: KVSyncHighErrorRate\n");
      expect(rules).not.toContain("PodDown");
      for (const [option, text_, expected] of [
        ["--target", "daemon", "expected host:port"],
        ["--target", "daemon:70700", "with a port from 1 to 65535"],
        ["--alertmanager", "alerts:0", "with a port from 1 to 65535"],
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
