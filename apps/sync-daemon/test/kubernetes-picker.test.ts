/** The manifests of the picker in infra/kubernetes/picker: names and ports that fit each other, the settings and the base. */
import { spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { afterAll, expect, test } from "vitest";
import { parse, parseAllDocuments } from "yaml";

import { poolsIn } from "../src/discovery/kubernetes/inference-pool.ts";
import { readSettings } from "../src/settings/read-settings.ts";

const BASE = fileURLToPath(new URL("../../../infra/kubernetes/", import.meta.url));
const read = (name: string): string => readFileSync(join(BASE, name), "utf8");
const folder = mkdtempSync(join(tmpdir(), "kvsync-picker-manifests-"));
afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

interface Port {
  readonly name: string;
  readonly containerPort: number;
}
interface Container {
  readonly env: readonly { readonly name: string; readonly value: string }[];
  readonly ports: readonly Port[];
  readonly readinessProbe: { readonly grpc: { readonly port: number; readonly service: string } };
}
interface Spec {
  readonly terminationGracePeriodSeconds: number;
  readonly containers: readonly [Container];
}
interface Deployment {
  readonly spec: { readonly template: { readonly spec: Spec } };
}
interface Pool {
  readonly metadata: { readonly name: string };
  readonly spec: {
    readonly selector: { readonly matchLabels: Readonly<Record<string, string>> };
    readonly targetPorts: readonly { readonly number: number }[];
    readonly endpointPickerRef: { readonly name: string; readonly port: { readonly number: number } };
  };
}
interface Service {
  readonly metadata: { readonly name: string };
  readonly spec: { readonly ports: readonly { readonly port: number; readonly targetPort: string }[] };
}

const { spec: podSpec } = (parse(read("picker/deployment.yaml")) as Deployment).spec.template;
const [container] = podSpec.containers;
const environment = Object.fromEntries(container.env.map(({ name, value }) => [name, value]));
const { settings } = readSettings([], environment);
const pool = parse(read("picker/inference-pool.yaml")) as Pool;
const service = parse(read("picker/service.yaml")) as Service;
const portOf = (name: string): number | undefined =>
  container.ports.find((port) => port.name === name)?.containerPort;

test("the settings turn the picker on for the pool, and the daemon reads the pool as it is written", () => {
  expect(settings.picker).toMatchObject({ enabled: true, pool: { name: pool.metadata.name } });
  const metadata = { ...pool.metadata, namespace: "serving", resourceVersion: "1" };
  expect(poolsIn(settings.picker.pool.group).read({ ...pool, metadata })).toMatchObject({
    name: pool.metadata.name,
    selector: "app=chat",
    ports: [8000],
  });
});

test("the pool, the service, the container and the settings mean the same ports", () => {
  const [port] = service.spec.ports;
  expect(pool.spec.endpointPickerRef).toMatchObject({
    name: service.metadata.name,
    port: { number: port?.port },
  });
  expect([portOf(port?.targetPort ?? ""), portOf("picker-health")]).toEqual([
    settings.picker.port,
    settings.picker.health_port,
  ]);
  const { grpc } = container.readinessProbe;
  expect(grpc).toEqual({ port: settings.picker.health_port, service: "readiness" });
});

test("a pod has the time to end its requests: the pause before it stops, the drain, and the stop", () => {
  expect(podSpec.terminationGracePeriodSeconds).toBeGreaterThanOrEqual(
    5 + settings.picker.drain_seconds + 2 + 5,
  );
});

test("the policy opens the picker's port, and lets it read the pool's metrics", () => {
  const [ingress, egress] = parse(read("picker/network-policy.yaml")) as {
    readonly path: string;
    readonly value: Record<string, unknown>;
  }[];
  expect(ingress).toMatchObject({ path: "/spec/ingress/0/ports/-", value: { port: "picker" } });
  expect(egress?.value).toMatchObject({
    to: [{ podSelector: { matchLabels: pool.spec.selector.matchLabels } }],
    ports: [{ port: pool.spec.targetPorts[0]?.number }],
  });
});

const kubectl = spawnSync("kubectl", ["version", "--client"]);
test.skipIf(kubectl.status !== 0)(
  "the component fits the base: one probe, one account, one namespace (needs kubectl)",
  () => {
    cpSync(BASE, folder, { recursive: true });
    const text = read("kustomization.yaml").replace("namespace: serving", "namespace: elsewhere");
    writeFileSync(join(folder, "kustomization.yaml"), `${text}components: [picker]\n`);
    const { stdout, stderr } = spawnSync("kubectl", ["kustomize", folder], { encoding: "utf8" });
    expect(stderr).toBe("");
    expect(stdout).not.toContain("serving");
    const all = parseAllDocuments(stdout).map((document) => document.toJS() as Record<string, unknown>);
    const of = (kind: string, name: string): unknown =>
      all.find((one) => one["kind"] === kind && (one["metadata"] as { name: string }).name === name);
    const [whole] = (of("Deployment", "kvsync-daemon") as Deployment).spec.template.spec.containers;
    expect(whole.readinessProbe).toEqual({ grpc: { port: 9003, service: "readiness" }, periodSeconds: 5 });
    expect(whole.ports.map(({ name }) => name).toSorted()).toEqual(["http", "picker", "picker-health"]);
    expect(of("RoleBinding", "kvsync-picker")).toMatchObject({
      roleRef: { kind: "Role", name: "kvsync-daemon-pools" },
      subjects: [{ kind: "ServiceAccount", name: "kvsync-daemon", namespace: "elsewhere" }],
    });
    expect(of("Role", "kvsync-daemon-pools")).toBeDefined();
    expect(of("NetworkPolicy", "kvsync-daemon")).toMatchObject({
      spec: { ingress: [{ ports: [{ port: "http" }, { port: "picker" }] }] },
    });
  },
);
