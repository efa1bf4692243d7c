/**
 * Alertmanager's configuration. Each alert reaches the receiver of its component and severity.
 * Causes silence their symptoms and nothing else. Critical alerts go out at once, in Slack and by
 * mail. With Debian's Alertmanager and its tool.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer as createHttpServer } from "node:http";
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { parse } from "yaml";

import type { Alert } from "./alert.ts";
import { KVSYNC } from "../kvsync/project.ts";
import { alertmanagerConfiguration, receiverOf } from "./alertmanager.ts";
import { type Inhibition, inhibitionProblems, targetsOf } from "./inhibition.ts";

const ALERTS = KVSYNC.alertGroups.flatMap((group) => group.alerts);
const HAS_ALERTMANAGER = ["amtool", "prometheus-alertmanager"].every(
  (program) => spawnSync(program, ["--version"]).status === 0,
);
const TIMEOUT_MS = 180_000;
const INHIBITED_WITHIN_MS = 60_000;

test("causes and symptoms are alerts that exist, with the labels they are compared by", () => {
  expect(inhibitionProblems(KVSYNC.inhibitions, ALERTS)).toEqual([]);
});

test.each<[string, Partial<Inhibition>, RegExp]>([
  ["a cause that was renamed", { source: "DaemonGone" }, /DaemonGone: no such alert/],
  ["a symptom that was renamed", { targets: { alerts: ["Gone"] } }, /no such target: Gone/],
  ["a label that one side lacks", { equal: ["job", "model"] }, /SyncDaemonDown has no label model/],
  ["itself", { targets: { alerts: ["SyncDaemonDown"] } }, /silences itself/],
  [
    "something more urgent",
    { source: "SnapshotStale", targets: { alerts: ["StorageUnhealthy"] } },
    /silences the more urgent StorageUnhealthy/,
  ],
])("a rule that names %s is found", (_, planted, message) => {
  const sound: Inhibition = {
    because: "",
    source: "SyncDaemonDown",
    targets: { alerts: ["SnapshotStale"] },
    equal: ["job"],
  };
  expect(inhibitionProblems([sound], ALERTS)).toEqual([]);
  expect(inhibitionProblems([{ ...sound, ...planted }], ALERTS).join("\n")).toMatch(message);
});

describe.skipIf(!HAS_ALERTMANAGER)("with Alertmanager (Debian package prometheus-alertmanager)", () => {
  const folder = mkdtempSync(join(tmpdir(), "kvsync-alertmanager-"));
  const file = join(folder, "alertmanager.yaml");
  const posts: {
    readonly atMs: number;
    readonly channel: string;
    readonly title: string;
    readonly text: string;
  }[] = [];
  const mails: string[] = [];
  /** What PagerDuty was sent. */
  const pages: { readonly routing_key: string; readonly payload: object; readonly links: object[] }[] = [];
  let pagerduty: Server;
  let slack: Server;
  let smtp: Server;
  let alertmanager: ChildProcess;
  let url: string;

  beforeAll(async () => {
    slack = createHttpServer((request, response) => {
      let body = "";
      request.on("data", (chunk: Buffer) => (body += chunk.toString()));
      request.on("end", () => {
        const { channel, attachments } = JSON.parse(body) as {
          channel: string;
          attachments: { title: string; text: string }[];
        };
        posts.push({
          atMs: performance.now(),
          channel,
          title: attachments[0]?.title ?? "",
          text: attachments[0]?.text ?? "",
        });
        response.end("ok");
      });
    });
    pagerduty = createHttpServer((request, response) => {
      let body = "";
      request.on("data", (chunk: Buffer) => (body += chunk.toString()));
      request.on("end", () => {
        pages.push(JSON.parse(body) as (typeof pages)[number]);
        response.statusCode = 202;
        response.end("{}");
      });
    });
    smtp = createServer((socket) => {
      takeMail(socket, mails);
    });
    const [slackPort, smtpPort, port] = [await listen(slack), await listen(smtp), await freePort()];
    writeFileSync(join(folder, "slack"), `http://127.0.0.1:${slackPort}/hook`);
    writeFileSync(join(folder, "smtp"), "unused");
    writeFileSync(join(folder, "pagerduty"), "key-of-a-service");
    const text = alertmanagerConfiguration({
      ...KVSYNC,
      contacts: { ...KVSYNC.contacts, smarthost: `127.0.0.1:${smtpPort}`, pagerduty: true },
    })
      .replace("global:\n", `global:\n  pagerduty_url: http://127.0.0.1:${await listen(pagerduty)}\n`)
      .replaceAll(/routing_key_file: .*/g, `routing_key_file: ${join(folder, "pagerduty")}`)
      .replace(/slack_api_url_file: .*/, `slack_api_url_file: ${join(folder, "slack")}`)
      .replace(/ {2}smtp_auth_username: .*\n/, "  smtp_require_tls: false\n")
      .replace(/ {2}smtp_auth_password_file: .*\n/, "");
    writeFileSync(file, text);
    url = `http://127.0.0.1:${port}`;
    const args = [
      `--config.file=${file}`,
      `--storage.path=${join(folder, "data")}`,
      `--web.listen-address=127.0.0.1:${port}`,
    ];
    alertmanager = spawn("prometheus-alertmanager", [...args, "--cluster.listen-address="], {
      stdio: "ignore",
    });
    await until(async () => (await fetch(`${url}/-/ready`).catch(() => null))?.status === 200);
  }, TIMEOUT_MS);

  afterAll(async () => {
    alertmanager.kill();
    slack.close();
    pagerduty.close();
    smtp.close();
    await new Promise((resolve) => alertmanager.once("exit", resolve));
    rmSync(folder, { recursive: true, force: true });
  });

  async function post(alerts: readonly object[]): Promise<void> {
    const headers = { "content-type": "application/json" };
    const response = await fetch(`${url}/api/v2/alerts`, {
      method: "POST",
      headers,
      body: JSON.stringify(alerts),
    });
    expect(response.status).toBe(200);
  }

  test("amtool takes the committed file", () => {
    const committed = join(folder, "committed.yaml");
    writeFileSync(committed, alertmanagerConfiguration(KVSYNC));
    const { status, stdout, stderr } = spawnSync("amtool", ["check-config", committed], { encoding: "utf8" });
    expect(status, stdout + stderr).toBe(0);
  });

  test("PagerDuty is asked for by a setting, for critical alerts alone, with its key in a file", () => {
    expect(alertmanagerConfiguration(KVSYNC)).not.toContain("pagerduty");
    const asked = { ...KVSYNC, contacts: { ...KVSYNC.contacts, pagerduty: true } };
    const { receivers } = parse(alertmanagerConfiguration(asked)) as {
      receivers: { name: string; pagerduty_configs?: { routing_key_file: string }[] }[];
    };
    for (const { name, pagerduty_configs: configs } of receivers)
      expect([name, configs?.map((config) => config.routing_key_file)]).toEqual([
        name,
        name.endsWith("-critical") ? ["/etc/alertmanager/secrets/pagerduty-routing-key"] : undefined,
      ]);
  });

  test("each alert goes to the receiver of its component and severity", () => {
    const wrong = ALERTS.flatMap((alert) => {
      const labels = Object.entries(labelsOf(alert)).map(([name, value]) => `${name}=${value}`);
      const { stdout } = spawnSync(
        "amtool",
        ["config", "routes", "test", `--config.file=${file}`, ...labels],
        { encoding: "utf8" },
      );
      const expected = receiverOf(KVSYNC, alert.severity, alert.component);
      return stdout.trim() === expected ? [] : [`${alert.name}: ${stdout.trim()}, expected ${expected}`];
    });
    expect(wrong).toEqual([]);
  });

  test(
    "a cause silences its symptoms where the labels are the same, and nowhere else",
    async () => {
      const cases = KVSYNC.inhibitions.flatMap((inhibition, i) =>
        targetsOf(inhibition, ALERTS).map((target, j) => ({ inhibition, target, id: `c${i}-${j}` })),
      );
      const shared = (equal: readonly string[], value: string) =>
        Object.fromEntries(equal.map((label) => [label, value]));
      await post(
        cases.flatMap(({ inhibition: { source, equal }, target, id }) => {
          const cause = ALERTS.find(({ name }) => name === source);
          if (cause === undefined) throw new Error(source);
          return [
            { labels: { ...labelsOf(cause), ...shared(equal, id), case: id } },
            { labels: { ...labelsOf(target), ...shared(equal, id), case: id, place: "here" } },
            {
              labels: { ...labelsOf(target), ...shared(equal, `${id}-other`), case: id, place: "elsewhere" },
            },
          ];
        }),
      );
      const expected = cases.map(({ inhibition, target }) => [
        `${target.name} by ${inhibition.source}`,
        "silent",
        "sent",
      ]);
      // The inhibitor learns of posted alerts in its own goroutine, after the post was answered.
      await vi.waitFor(
        async () => {
          const seen = (await (await fetch(`${url}/api/v2/alerts`)).json()) as {
            readonly labels: Readonly<Record<string, string>>;
            readonly status: { readonly inhibitedBy: readonly string[] };
          }[];
          const stateOf = (id: string, place: string): string => {
            const alert = seen.find(({ labels }) => labels["case"] === id && labels["place"] === place);
            if (alert === undefined) return "absent";
            return alert.status.inhibitedBy.length === 0 ? "sent" : "silent";
          };
          const states = cases.map(({ inhibition, target, id }) => [
            `${target.name} by ${inhibition.source}`,
            stateOf(id, "here"),
            stateOf(id, "elsewhere"),
          ]);
          expect(states).toEqual(expected);
        },
        { timeout: INHIBITED_WITHIN_MS, interval: 50 },
      );
      expect(cases.length).toBeGreaterThan(30);
    },
    TIMEOUT_MS,
  );

  test(
    "what is critical is told at once, in its team's channel, by mail and to PagerDuty; what is a warning is not told yet",
    async () => {
      const alert = ALERTS.find(({ name }) => name === "PodDown");
      const warning = ALERTS.find(({ name }) => name === "HighCPUUsage");
      if (alert === undefined || warning === undefined) throw new Error("the alerts of this test are gone");
      const annotations = {
        summary: "A pod is down.",
        description: "It is.",
        runbook_url: "http://r/x.md",
        dashboard_url: "http://g/d/x",
      };
      const isMine = ({ payload }: (typeof pages)[number]): boolean =>
        JSON.stringify(payload).includes("PodDown: A pod is down.");
      const beganMs = performance.now();
      await post([
        { labels: { ...labelsOf(warning), namespace: "told" }, annotations },
        { labels: { ...labelsOf(alert), namespace: "told" }, annotations },
      ]);
      const mine = () =>
        posts.filter(
          ({ channel, text }) => channel === "#platform-alerts" && text.includes("A pod is down."),
        );
      await until(() => Promise.resolve(mine().length > 0 && mails.length > 0 && pages.some(isMine)));
      // The warning's own wait is the measure: it was posted first, and is not due for a long time yet.
      expect(performance.now() - beganMs).toBeLessThan(30_000);
      expect(mine().map(({ title }) => title)).toEqual(["FIRING PodDown (1) critical"]);
      expect(mine()[0]?.text).toContain("<http://r/x.md|runbook> <http://g/d/x|panel>");
      expect(mails.join("\n")).toContain(`To: ${KVSYNC.contacts.emailTo}`);
      expect(pages.find(isMine)).toMatchObject({
        routing_key: "key-of-a-service",
        event_action: "trigger",
        payload: { severity: "critical", class: "PodDown", component: "platform" },
        links: [
          { href: "http://r/x.md", text: "runbook" },
          { href: "http://g/d/x", text: "panel" },
        ],
      });
      expect(pages.filter(({ payload }) => JSON.stringify(payload).includes("HighCPUUsage"))).toEqual([]);
    },
    TIMEOUT_MS,
  );
});

/** Labels of an alert when it fires, as its trial has them. */
function labelsOf({ name, severity, component, trial }: Alert): Readonly<Record<string, string>> {
  return { alertname: name, severity, component, ...trial.labels };
}

async function listen(server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return (server.address() as AddressInfo).port;
}

async function freePort(): Promise<number> {
  const server = createServer();
  const port = await listen(server);
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** Looks again and again; the test's own timeout ends it. */
async function until(holds: () => Promise<boolean>): Promise<void> {
  while (!(await holds())) await new Promise((resolve) => setTimeout(resolve, 20));
}

/** As much of a mail server as it takes (RFC 5321): every command is fine, a mail ends with a dot. */
function takeMail(socket: Socket, mails: string[]): void {
  let isData = false;
  let mail = "";
  socket.write("220 here\r\n");
  socket.on("data", (chunk: Buffer) => {
    for (const line of chunk.toString().split("\r\n")) {
      if (isData) {
        mail += `${line}\n`;
        if (line !== ".") continue;
        mails.push(mail);
        isData = false;
        socket.write("250 taken\r\n");
      } else if (/^data/i.test(line)) {
        isData = true;
        mail = "";
        socket.write("354 go on\r\n");
      } else if (/^quit/i.test(line)) socket.end("221 bye\r\n");
      else if (line !== "") socket.write("250 fine\r\n");
    }
  });
  socket.on("error", () => undefined);
}
