/**
 * scripts/deploy-monitoring.sh with a kubectl that records its calls and keeps Secrets, as an API server would. The tests are about the
 * order of its work, about a second run, and about secrets in arguments and in the output.
 */
import { spawnSync } from "node:child_process";
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { afterEach, beforeEach, expect, test } from "vitest";
import { parse } from "yaml";

import { KVSYNC } from "../kvsync/project.ts";
import { render } from "../render.ts";
import { SECRETS } from "./cluster.ts";

const SCRIPT = fileURLToPath(new URL("../../../../scripts/deploy-monitoring.sh", import.meta.url));
const PAGE = new URL("../../../../docs/operations/monitoring-stack.md", import.meta.url);

/** Answers by path of the API server's proxy; one file each may replace them. */
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
  *"/api/v1/rules?type=alert") cat rules ;;
  *"alertmanager:http"*) echo '{"config":{}}' ;;
  *"loki:http"*) if [ -e loki-down ]; then exit 1; else echo ready; fi ;;
  *"grafana:http"*) echo '{"database":"ok"}' ;;
  *"jaeger-query:query"*) echo '{"data":[]}' ;;
  *"/api/v1/query"*) echo '{"data":{"result":[]}}' ;;
esac
`;

let record = "";
beforeEach(() => {
  record = mkdtempSync(join(tmpdir(), "kvsync-deploy-"));
  const kubectl = join(record, "kubectl");
  writeFileSync(kubectl, KUBECTL);
  chmodSync(kubectl, 0o755);
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

function deploy(...args: readonly string[]): Run {
  const before = recorded().length;
  const { status, stdout, stderr } = spawnSync("sh", [SCRIPT, ...args], {
    encoding: "utf8",
    env: { ...process.env, PATH: `${record}:${process.env["PATH"] ?? ""}`, RECORD: record },
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
    "get --raw /api",
  ];
  const places = order.map((start) => calls.findIndex((call) => call.startsWith(start)));
  expect(places).toEqual(places.toSorted((a, b) => a - b));
  expect(places).not.toContain(-1);
  const waited = calls.filter((call) => call.startsWith("rollout status"));
  expect(waited.map((call) => call.split(" ")[2]?.split("/")[1]).toSorted()).toEqual(workloads());
  for (const call of waited) expect(call).toContain("--timeout=7s");
  expect(output).toContain("note    Prometheus scrapes no daemon yet");
});

function workloads(): readonly string[] {
  const names = [...render(KVSYNC)]
    .filter(([path]) => path.startsWith("infra/kubernetes/monitoring/"))
    .flatMap(([, text]) => text.split("---\n"))
    .map((text) => parse(text) as { kind: string; metadata: { name: string } })
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
  const drawn = secret("grafana-secrets", "admin-password");
  expect(secret("alertmanager-secrets", "smtp-password")).toBe("SMTPSECRET");
  expect(secret("alertmanager-secrets", "pagerduty-routing-key")).toBe("PAGERSECRET");
  for (const text of [output, ...calls])
    for (const word of ["SLACKSECRET", "SMTPSECRET", "PAGERSECRET", drawn]) expect(text).not.toContain(word);
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

test("a program that does not answer, and rules that are not all loaded, fail the run by name", () => {
  writeFileSync(join(record, "loki-down"), "");
  writeFileSync(join(record, "rules"), '{"type":"alerting"}');
  const { status, output } = deploy();
  expect(status).toBe(1);
  expect(output).toMatch(/^failed {2}Loki is ready/m);
  expect(output).toMatch(/^failed {2}Prometheus has \d+ alerts: it has 1$/m);
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
  ["--wait", "soon", 'is "soon"; expected seconds'],
  ["--contxt", "a", "--contxt is not an option"],
  ["--smtp-password-file", "/nowhere/at-all", "cannot be read"],
])("%s %s is refused before kubectl is called", (option, value, said) => {
  const { status, output, calls } = deploy(option, value);
  expect([status, output, calls]).toEqual([2, expect.stringContaining(said), []]);
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
  const services = [...render(KVSYNC)]
    .filter(([path]) => path.startsWith("infra/kubernetes/monitoring/"))
    .flatMap(([, text]) => text.split("---\n"))
    .map(
      (text) =>
        parse(text) as {
          kind: string;
          metadata: { name: string; namespace: string };
          spec: { ports: { port: number }[] };
        },
    )
    .filter(({ kind }) => kind === "Service");
  for (const line of forwards) {
    expect(page).toContain(line);
    const [, namespace, name, local, port] = /-n (\S+) svc\/(\S+) (\d+):(\d+)$/.exec(line) ?? [];
    expect(local).toBe(port);
    const service = services.find(
      ({ metadata }) => metadata.name === name && metadata.namespace === namespace,
    );
    expect(service?.spec.ports.map((one) => String(one.port))).toContain(port);
  }
});

test("shellcheck finds nothing in it (Debian package shellcheck)", () => {
  const { error, status, stdout } = spawnSync("shellcheck", [SCRIPT], { encoding: "utf8" });
  // A machine without the tool: continuous integration installs it.
  if (error !== undefined && process.env["CI"] === undefined) return;
  expect([status, stdout]).toEqual([0, ""]);
});
