/**
 * scripts/deploy-monitoring.sh with a kubectl that records its calls and keeps Secrets, as an API server would. The tests are about the
 * order of its work, and about a second run. They are about secrets in arguments and in the output, and about the way to the programs.
 */
import { spawnSync } from "node:child_process";
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { afterEach, beforeEach, expect, test } from "vitest";
import { parse } from "yaml";

import { KVSYNC } from "../kvsync/project.ts";
import { render } from "../render.ts";
import { logDashboardUid } from "../signals/log-dashboard.ts";
import { SECRETS } from "./cluster.ts";

const SCRIPT = fileURLToPath(new URL("../../../../scripts/deploy-monitoring.sh", import.meta.url));
const PAGE = new URL("../../../../docs/operations/monitoring-stack.md", import.meta.url);

/**
 * Answers at the end of a forward: `SERVICE PORT FOLDER` on its command line, each file of the folder a switch. Grafana has the password
 * of the file `database`: that of the Secret when the database is made.
 */
const PROGRAM = String.raw`
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
const [service, port, folder] = process.argv.slice(2);
const has = (name) => existsSync(folder + "/" + name);
const text = (name) => readFileSync(folder + "/" + name, "utf8").trim();
if (service === "grafana" && !has("database")) writeFileSync(folder + "/database", text("secret-grafana-secrets/admin-password"));
const login = () => "Basic " + Buffer.from("admin:" + text("database")).toString("base64");
const answers = {
  prometheus: { "/api/v1/rules?type=alert": () => text("rules"), "/api/v1/query": () => '{"data":{"result":[]}}' },
  alertmanager: { "/api/v2/status": () => '{"config":{}}' },
  loki: { "/ready": () => (has("loki-down") ? null : "ready") },
  grafana: { "/api/health": () => '{"database":"ok"}', "/api/search": () => text("dashboards") },
  "jaeger-query": { "/api/services": () => '{"data":[]}' },
};
const server = createServer((request, response) => {
  const [, answer] = Object.entries(answers[service]).find(([path]) => request.url.startsWith(path)) ?? [];
  const refused = request.url.startsWith("/api/search") && request.headers.authorization !== login();
  const body = refused ? null : (answer?.() ?? null);
  response.writeHead(refused ? 401 : body === null ? 503 : 200).end(body ?? "");
  console.log("Handling connection for " + server.address().port);
});
server.listen(0, "127.0.0.1", () => {
  writeFileSync(folder + "/forwards", process.pid + "\n", { flag: "a" });
  console.log("Forwarding from 127.0.0.1:" + server.address().port + " -> " + port);
});
`;

const KUBECTL = String.raw`#!/bin/sh
cd "$RECORD"
case $1 in --context=*) shift ;; esac
printf '%s\n' "$*" >>calls
case "$*" in
  "get --raw /version")
    if [ -e unreachable ]; then
      echo 'E1201 noise of one kind of object' >&2
      echo 'The connection to the server was refused' >&2
      exit 1
    fi
    ;;
  "port-forward --address=127.0.0.1 --namespace "*" service/"*" :"*)
    service=$(printf '%s' "$5" | sed 's/service.//')
    if [ -e "$service-unreachable" ]; then
      echo 'error: unable to forward port because pod is not running. Current status=Pending' >&2
      exit 1
    fi
    exec node program.mjs "$service" "$(printf '%s' "$6" | tr -d :)" "$RECORD"
    ;;
  "exec --stdin --namespace monitoring grafana-0 -- grafana cli admin reset-admin-password --password-from-stdin")
    [ -e read-only ] || head -n 1 >database
    ;;
  "get namespace"*) [ ! -e no-namespaces ] ;;
  "auth can-i"*) [ ! -e no-rights ] ;;
  "get crd"*) [ -e has-operator ] ;;
  "get secret "*jsonpath*)
    key=$(printf '%s' "$*" | sed 's/.*{\.data\.\([a-z-]*\)}.*/\1/')
    base64 <"secret-$3/$key" | tr -d '\n'
    ;;
  "get secret "*) [ -d "secret-$3" ] ;;
  "create secret generic "*)
    shift 3
    printf 'secret %s\n' "$1"
    for argument in "$@"; do
      case $argument in
        --from-file=*)
          pair=$(printf '%s' "$argument" | sed 's/^--from-file=//')
          printf '%s %s\n' "$(printf '%s' "$pair" | sed 's/=.*//')" "$(base64 <"$(printf '%s' "$pair" | sed 's/^[^=]*=//')" | tr -d '\n')"
          ;;
      esac
    done
    ;;
  "apply --filename -")
    read -r _ name
    rm -rf "secret-$name" && mkdir "secret-$name"
    while read -r key text; do printf '%s' "$text" | base64 -d >"secret-$name/$key"; done
    ;;
  "diff "*) exit 1 ;;
  "rollout status "*) [ ! -e interrupted ] || kill -TERM "$PPID" ;;
esac
`;

let record = "";
beforeEach(() => {
  record = mkdtempSync(join(tmpdir(), "kvsync-deploy-"));
  const kubectl = join(record, "kubectl");
  writeFileSync(kubectl, KUBECTL);
  chmodSync(kubectl, 0o755);
  mkdirSync(join(record, "temporary"));
  writeFileSync(join(record, "curl"), CURL);
  chmodSync(join(record, "curl"), 0o755);
  writeFileSync(join(record, "program.mjs"), PROGRAM);
  writeFileSync(
    join(record, "dashboards"),
    JSON.stringify(
      [...KVSYNC.dashboards.map(({ uid }) => uid), logDashboardUid(KVSYNC)].map((uid) => ({
        id: 1,
        uid,
        type: "dash-db",
      })),
    ),
  );
  const alerts = KVSYNC.alertGroups.flatMap((group) => group.alerts);
  writeFileSync(join(record, "rules"), alerts.map(() => '{"type":"alerting"}').join());
});
afterEach(() => {
  rmSync(record, { recursive: true });
});

interface Run {
  readonly status: number | null;
  readonly output: string;
  readonly calls: readonly string[];
}

function environment(): NodeJS.ProcessEnv {
  const { PATH = "" } = process.env;
  return { ...process.env, PATH: `${record}:${PATH}`, RECORD: record, BEYOND: PATH };
}

function deploy(...args: readonly string[]): Run {
  const before = recorded().length;
  const { status, stdout, stderr } = spawnSync("sh", [SCRIPT, ...args], {
    encoding: "utf8",
    env: environment(),
  });
  return { status, output: `${stdout}${stderr}`, calls: recorded().slice(before) };
}

function recorded(): readonly string[] {
  const path = join(record, "calls");
  return existsSync(path) ? readFileSync(path, "utf8").trimEnd().split("\n") : [];
}

function secret(name: keyof typeof SECRETS, key: string): string {
  return readFileSync(join(record, `secret-${name}`, key), "utf8");
}

function fileWith(name: string, text: string): string {
  const path = join(record, name);
  writeFileSync(path, text);
  return path;
}

/** The script's calls of curl go through, and are kept. */
const CURL = String.raw`#!/bin/sh
printf '%s\n' "$*" >>"$RECORD/requests"
PATH=$BEYOND exec curl "$@"
`;

const isSecretWrite = (call: string): boolean => /^(?:create secret|apply --filename -)/.test(call);

test("it makes namespaces, Secrets and the stack in this order, waits for every workload, and checks each program", () => {
  const { status, output, calls } = deploy("--wait", "7");
  expect([status, output]).toEqual([0, expect.not.stringContaining("failed")]);
  const order = [
    "apply --filename",
    "create secret generic grafana",
    "create secret generic alert",
    "apply --kustomize",
    "rollout",
    "port-forward",
  ];
  const places = order.map((start) => calls.findIndex((call) => call.startsWith(start)));
  expect(places).toEqual(places.toSorted((a, b) => a - b));
  expect(places).not.toContain(-1);
  const waited = calls.filter((call) => call.startsWith("rollout status"));
  expect(waited.map((call) => call.split(" ")[2]?.split("/")[1]).toSorted()).toEqual(workloads());
  for (const call of waited) expect(call).toContain("--timeout=7s");
  expect(output).toContain("note    Prometheus scrapes no daemon yet");
  expect(output.match(/^ok .*/gm)).toHaveLength(6);
});

test("it asks the programs inside their pods, where no NetworkPolicy refuses it, and ends each forward", () => {
  const { calls } = deploy();
  expect(calls.filter((call) => call.includes("/proxy"))).toEqual([]);
  const asked = calls.filter((call) => call.startsWith("port-forward"));
  expect(asked).toHaveLength(5);
  const services = objects().filter(({ kind }) => kind === "Service");
  for (const call of asked) {
    const [, namespace, name, port] =
      /^port-forward --address=127\.0\.0\.1 --namespace (\S+) service\/(\S+) :(\d+)$/.exec(call) ?? [];
    const service = services.find(
      ({ metadata }) => metadata.name === name && metadata.namespace === namespace,
    );
    expect(service?.spec.ports?.map((one) => String(one.port))).toContain(port);
  }
  const processes = readFileSync(join(record, "forwards"), "utf8").trimEnd().split("\n");
  expect(processes).toHaveLength(5);
  for (const pid of processes) expect(existsSync(`/proc/${pid}`)).toBe(false);
});

interface Deployed {
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace: string };
  readonly spec: { readonly ports?: readonly { readonly port: number }[] };
}

/** Objects of the kustomization. */
function objects(): readonly Deployed[] {
  return [...render(KVSYNC)]
    .filter(([path]) => path.startsWith("infra/kubernetes/monitoring/"))
    .flatMap(([, text]) => text.split("---\n"))
    .map((text) => parse(text) as Deployed);
}

function workloads(): readonly string[] {
  const names = objects()
    .filter(({ kind }) => /^(?:Deployment|StatefulSet|DaemonSet)$/.test(kind))
    .map(({ metadata }) => metadata.name);
  expect(names).toHaveLength(8);
  return names.toSorted();
}

test("the Secrets have the keys that the programs read, and a drawn password is long and on no line of its own", () => {
  deploy();
  for (const [name, keys] of Object.entries(SECRETS))
    for (const key of keys) expect(typeof secret(name as keyof typeof SECRETS, key)).toBe("string");
  expect(secret("grafana-secrets", "admin-password")).toMatch(/^[A-Za-z0-9+/]{24}$/);
});

test("no secret is in an argument or in the output", () => {
  const { output, calls } = deploy(
    "--slack-webhook-file",
    fileWith("slack", "https://hooks.example/SLACKSECRET"),
    "--smtp-password-file",
    fileWith("smtp", "SMTPSECRET"),
    "--pagerduty-key-file",
    fileWith("pagerduty", "PAGERSECRET"),
  );
  const requests = readFileSync(join(record, "requests"), "utf8");
  expect(requests).toContain("/api/search");
  const drawn = secret("grafana-secrets", "admin-password");
  expect(secret("alertmanager-secrets", "smtp-password")).toBe("SMTPSECRET");
  expect(secret("alertmanager-secrets", "pagerduty-routing-key")).toBe("PAGERSECRET");
  for (const text of [output, requests, ...calls])
    for (const word of ["SLACKSECRET", "SMTPSECRET", "PAGERSECRET", drawn]) expect(text).not.toContain(word);
});

test("a run that is interrupted leaves no file with a secret", () => {
  writeFileSync(join(record, "interrupted"), "");
  const { status, calls } = deploy();
  expect(status).toBe(143);
  expect(calls.at(-1)).toMatch(/^rollout status/);
  expect(readdirSync(join(record, "temporary"))).toEqual([]);
});

test("a second run keeps the Secrets, and one that brings a single key keeps the others", () => {
  deploy("--slack-webhook-file", fileWith("slack", "first"));
  const password = secret("grafana-secrets", "admin-password");
  const second = deploy();
  expect(second.status).toBe(0);
  expect(second.calls.filter(isSecretWrite)).toEqual([]);
  deploy("--smtp-password-file", fileWith("smtp", "mail"));
  expect(secret("alertmanager-secrets", "slack-webhook-url")).toBe("first");
  expect(secret("alertmanager-secrets", "smtp-password")).toBe("mail");
  expect(secret("grafana-secrets", "admin-password")).toBe(password);
});

test("a password for a Grafana that has a database already is set there too, and not in an argument", () => {
  deploy();
  const { status, output, calls } = deploy("--grafana-password-file", fileWith("password", 'ne"w\\secret\n'));
  expect([status, output]).toEqual([
    0,
    expect.stringMatching(/^ok {6}Grafana has the password of .*password$/m),
  ]);
  expect(readFileSync(join(record, "database"), "utf8").trim()).toBe('ne"w\\secret');
  expect(output).toMatch(/^ok {6}Grafana lists 6 dashboards$/m);
  for (const text of [output, ...calls]) expect(text).not.toContain("secret\n");
  // The next run finds nothing to set.
  const next = deploy("--grafana-password-file", join(record, "password"));
  expect(next.calls.filter((call) => call.startsWith("exec"))).toEqual([]);
});

test("a password that Grafana does not take fails the run, with the command that sets it", () => {
  deploy();
  writeFileSync(join(record, "read-only"), "");
  const { status, output } = deploy("--grafana-password-file", fileWith("password", "another"));
  expect(status).toBe(1);
  expect(output).toMatch(/^failed {2}Grafana has the password of .*: its database has another one$/m);
  expect(output).toMatch(/kubectl exec -i -n monitoring grafana-0 -- grafana cli admin reset-admin-password/);
});

test("a password that its user changed in Grafana stays, and the run tells how to get back to the Secret's", () => {
  deploy();
  writeFileSync(join(record, "database"), "by hand");
  const { status, output, calls } = deploy();
  expect(status).toBe(0);
  expect(output).toMatch(/^note {4}Grafana has another password than the Secret/m);
  expect(output).toContain("grafana cli admin reset-admin-password --password-from-stdin");
  expect(calls.filter((call) => call.startsWith("exec"))).toEqual([]);
  expect(readFileSync(join(record, "database"), "utf8")).toBe("by hand");
});

test("a program whose pod cannot be reached fails by kubectl's own words, and dashboards that are missing by their number", () => {
  writeFileSync(join(record, "loki-unreachable"), "");
  writeFileSync(join(record, "dashboards"), '[{"uid":"kvsync-overview"}]');
  const { status, output } = deploy("--wait", "1");
  expect(status).toBe(1);
  expect(output).toMatch(/^failed {2}Loki is ready: kubectl port-forward: error: unable to forward port/m);
  expect(output).toMatch(/^failed {2}Grafana lists 6 dashboards: it lists 1; see kubectl logs/m);
});

test("a program that does not answer, and rules that are not all loaded, fail the run by name", () => {
  writeFileSync(join(record, "loki-down"), "");
  writeFileSync(join(record, "rules"), '{"type":"alerting"}');
  const { status, output } = deploy();
  expect(status).toBe(1);
  expect(output).toMatch(/^failed {2}Loki is ready/m);
  expect(output).toMatch(/^failed {2}Prometheus has \d+ alerts: it has 1;/m);
  expect(output).toMatch(/^ok {6}Jaeger answers/m);
});

test.each([
  ["no-rights", [], "may not create namespaces"],
  ["has-operator", [], "use infra/kubernetes/operator"],
])("it changes nothing when it finds %s", (marker, args, said) => {
  writeFileSync(join(record, marker), "");
  const { status, output, calls } = deploy(...args);
  expect([status, output]).toEqual([1, expect.stringContaining(said)]);
  expect(calls.filter((call) => !/^(?:auth|get)/.test(call))).toEqual([]);
});

test("a cluster that does not answer is named as that, in one line, before anything else is asked or deleted", () => {
  writeFileSync(join(record, "unreachable"), "");
  for (const options of [[], ["--dry-run"], ["--delete"]]) {
    const { status, output, calls } = deploy(...options);
    expect([status, output]).toEqual([
      1,
      "the cluster does not answer: The connection to the server was refused\n",
    ]);
    expect(calls).toEqual(["get --raw /version"]);
  }
});

test("before the first run, --dry-run lists what would be made", () => {
  writeFileSync(join(record, "no-namespaces"), "");
  const { status, calls } = deploy("--dry-run");
  expect(status).toBe(0);
  expect(calls.at(-1)).toMatch(/^apply --kustomize .*infra\/kubernetes\/monitoring --dry-run=client$/);
  expect(calls.filter((call) => call.startsWith("diff"))).toEqual([]);
});

test.each([
  ["--dry-run", "--delete", "exclude each other"],
  ["--delete", "--dry-run", "exclude each other"],
  ["--slack-webhook-file", "/", "cannot be read"],
  ["--wait", "soon", 'is "soon"; expected 1 to 99999 seconds'],
  ["--wait", "00", 'is "00"; expected 1 to 99999 seconds'],
  ["--wait", "100000", "expected 1 to 99999 seconds"],
  ["--context", "", "--context has no value"],
  ["--grafana-password-file", "", "--grafana-password-file has no value"],
  ["--contxt", "a", "--contxt is not an option"],
  ["--smtp-password-file", "/nowhere/at-all", "cannot be read"],
])("%s %s is refused before kubectl is called", (option, value, said) => {
  const { status, output, calls } = deploy(option, value);
  expect([status, output, calls]).toEqual([2, expect.stringContaining(said), []]);
});

test.each(["", " \n"])("a secret's file with %j is refused before kubectl is called", (text) => {
  const { status, output, calls } = deploy("--grafana-password-file", fileWith("password", text));
  expect([status, output, calls]).toEqual([2, expect.stringContaining("password is empty"), []]);
});

test("a secret may come through a pipe, which can be read once", () => {
  const piped = 'printf "piped password" | sh "$0" --grafana-password-file /dev/stdin';
  const { status, stderr } = spawnSync("sh", ["-c", piped, SCRIPT], {
    encoding: "utf8",
    env: environment(),
  });
  expect([status, stderr]).toEqual([0, ""]);
  expect(secret("grafana-secrets", "admin-password")).toBe("piped password");
});

test("a copy of the script without its checkout changes nothing", () => {
  const folder = join(record, "elsewhere");
  mkdirSync(join(folder, "bin"), { recursive: true });
  copyFileSync(SCRIPT, join(folder, "bin", "deploy.sh"));
  const { status, stderr } = spawnSync("sh", [join(folder, "bin", "deploy.sh"), "--delete"], {
    encoding: "utf8",
    env: environment(),
  });
  expect([status, stderr]).toEqual([
    1,
    expect.stringContaining("expected this script in scripts/ of a checkout"),
  ]);
  expect(recorded()).toEqual([]);
});

test("--dry-run compares and --delete deletes, and neither writes a Secret", () => {
  const dry = deploy("--dry-run", "--context", "staging");
  expect(dry.status).toBe(0);
  expect(dry.calls.at(-1)).toMatch(/^diff --kustomize .*infra\/kubernetes\/monitoring$/);
  const gone = deploy("--delete");
  expect(gone.calls[0]).toBe("get --raw /version");
  const deletions = gone.calls.slice(1);
  for (const call of deletions) expect(call).toMatch(/^delete .*--ignore-not-found$/);
  // What the stack consists of, but for the namespaces: others may have objects there.
  const { resources } = parse(render(KVSYNC).get("infra/kubernetes/monitoring/kustomization.yaml") ?? "") as {
    resources: readonly string[];
  };
  for (const name of resources.filter((one) => one !== "namespaces.yaml"))
    expect(deletions.filter((call) => call.includes(`monitoring/${name} `))).toHaveLength(1);
  const claims = [...render(KVSYNC)].flatMap(([path, text]) =>
    path.startsWith("infra/kubernetes/monitoring/")
      ? [...text.matchAll(/kind: StatefulSet\nmetadata:\n {2}name: (\S+)/g)].map(
          ([, name = ""]) => `data-${name}-0`,
        )
      : [],
  );
  expect(claims).toHaveLength(4);
  const deleted = deletions.find((call) => call.includes("persistentvolumeclaim"))?.split(" ") ?? [];
  expect(deleted).toEqual(expect.arrayContaining(claims));
  expect(deletions.join("\n")).not.toMatch(/namespaces?\.yaml|delete namespace/);
  expect([...dry.calls, ...gone.calls].filter(isSecretWrite)).toEqual([]);
});

test("the forwards that it prints are those of the page, and reach Services with these ports", () => {
  const { output } = deploy();
  const forwards = output.match(/^kubectl port-forward .*$/gm) ?? [];
  expect(forwards).toHaveLength(5);
  const page = readFileSync(PAGE, "utf8");
  const services = objects().filter(({ kind }) => kind === "Service");
  for (const line of forwards) {
    expect(page).toContain(line);
    const [, namespace, name, local, port] = /-n (\S+) svc\/(\S+) (\d+):(\d+)$/.exec(line) ?? [];
    expect(local).toBe(port);
    const service = services.find(
      ({ metadata }) => metadata.name === name && metadata.namespace === namespace,
    );
    expect(service?.spec.ports?.map((one) => String(one.port))).toContain(port);
  }
});

test("shellcheck finds nothing in it (Debian package shellcheck)", () => {
  const { error, status, stdout } = spawnSync("shellcheck", [SCRIPT], { encoding: "utf8" });
  // A machine without the tool: continuous integration installs it.
  if (error !== undefined && process.env["CI"] === undefined) return;
  expect([status, stdout]).toEqual([0, ""]);
});
