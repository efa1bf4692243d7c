/**
 * The manifests in infra/kubernetes, read as data: least rights, no secrets, settings that the daemon takes, and names that fit each other.
 */
import { spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, expect, test } from "vitest";
import { parse, parseAllDocuments } from "yaml";

import { OPERATIONS } from "../src/openapi/operations.ts";
import { readSettings } from "../src/settings/read-settings.ts";

/** A manifest, loosely. */
interface Manifest {
  readonly kind: string;
  readonly metadata: { readonly name: string };
  readonly [field: string]: unknown;
}

interface Container {
  readonly image: string;
  readonly args: readonly string[];
  readonly ports: readonly { readonly name: string; readonly containerPort: number }[];
  readonly env?: readonly object[];
  readonly readinessProbe: { readonly httpGet: { readonly path: string; readonly port: string } };
  readonly livenessProbe: { readonly httpGet: { readonly path: string; readonly port: string } };
  readonly volumeMounts: readonly {
    readonly name: string;
    readonly mountPath: string;
    readonly subPath?: string;
  }[];
  readonly resources: { readonly limits: { readonly memory: string } };
  readonly securityContext: object;
  readonly lifecycle: { readonly preStop: { readonly exec: { readonly command: readonly string[] } } };
}

type Deployment = Manifest & {
  spec: {
    selector: { matchLabels: object };
    template: {
      metadata: { labels: object };
      spec: {
        serviceAccountName: string;
        terminationGracePeriodSeconds: number;
        containers: Container[];
        volumes: Record<string, unknown>[];
      };
    };
  };
};

const FOLDER = new URL("../../../infra/kubernetes/", import.meta.url);
const read = (name: string): string => readFileSync(new URL(name, FOLDER), "utf8");
const files = readdirSync(FOLDER).filter((name) => name !== "kustomization.yaml");
const manifests = files.flatMap((name) =>
  parseAllDocuments(read(name)).map((document) => document.toJS() as Manifest),
);

const NONE: Manifest = { kind: "", metadata: { name: "" } };
/** The only manifest of its kind, or of its kind and name. */
function only(kind: string, name?: string): Manifest {
  const found = manifests.filter(
    (manifest) => manifest.kind === kind && (name === undefined || manifest.metadata.name === name),
  );
  expect(found).toHaveLength(1);
  return found[0] ?? NONE;
}

const deployment = only("Deployment") as Deployment;
const pod = deployment.spec.template.spec;
const [container] = pod.containers;
if (container === undefined) throw new Error("a deployment without a container");

const scratch = mkdtempSync(join(tmpdir(), "kvsync-manifests-"));
afterAll(() => {
  rmSync(scratch, { recursive: true, force: true });
});

const reading = (() => {
  const data = only("ConfigMap")["data"] as Record<string, string>;
  const path = join(scratch, "kvsync.yaml");
  writeFileSync(path, data["kvsync.yaml"] ?? "");
  return readSettings(["--config", path], {});
})();
const { settings } = reading;

test("the daemon may list and watch pods, and nothing else at all", () => {
  expect(only("Role", "kvsync-daemon")["rules"]).toEqual([
    { apiGroups: [""], resources: ["pods"], verbs: ["list", "watch"] },
  ]);
  expect(manifests.filter(({ kind }) => kind.startsWith("ClusterRole"))).toEqual([]);
  const account = only("ServiceAccount");
  expect(only("RoleBinding")).toMatchObject({
    roleRef: { kind: "Role", name: only("Role", "kvsync-daemon").metadata.name },
    subjects: [{ kind: "ServiceAccount", name: account.metadata.name }],
  });
  expect(account["automountServiceAccountToken"]).toBe(false);
  expect(pod.serviceAccountName).toBe(account.metadata.name);
});

test("no manifest holds a secret, and none goes through the environment", () => {
  expect(manifests.filter(({ kind }) => kind === "Secret")).toEqual([]);
  expect(container.env).toBeUndefined();
  // Callers' tokens come from a Secret that whoever installs it makes, mounted as files.
  const mount = container.volumeMounts.find(({ mountPath }) =>
    settings.security.tokens_file?.startsWith(`${mountPath}/`),
  );
  const volume = pod.volumes.find(({ name }) => name === mount?.name);
  expect(volume).toEqual({ name: "tokens", secret: { secretName: "kvsync-tokens" } });
  expect(JSON.stringify(reading.given)).not.toMatch(/token":|password|secret|sha256/i);
});

test("the settings are ones that the daemon takes, and every file that they name lies in a volume, none by subPath", () => {
  expect(settings.discovery.kubernetes.enabled).toBe(true);
  expect(settings.http.port).toBe(container.ports[0]?.containerPort);
  const mounted = (path: string): boolean =>
    container.volumeMounts.some(({ mountPath }) => path.startsWith(`${mountPath}/`));
  const named = [
    container.args[1],
    settings.security.tokens_file,
    settings.discovery.state_directory,
    settings.snapshot.directory,
    settings.snapshot.warm_token_file,
  ];
  for (const path of named) expect([path, mounted(path ?? "")]).toEqual([path, true]);
  for (const mount of container.volumeMounts) {
    expect(mount.subPath).toBeUndefined();
    expect(pod.volumes.some(({ name }) => name === mount.name)).toBe(true);
  }
  expect(pod.volumes.find(({ name }) => name === "config")).toMatchObject({
    configMap: { name: only("ConfigMap").metadata.name },
  });
  const GIB = 2 ** 30;
  // docs/operations/capacity.md: the process, the index and its copy for a snapshot, the queues when they are full, the tokens remembered.
  const { index_bytes, queue_bytes, replay_queue_bytes } = settings.limits;
  const needed = 165e6 + 2 * index_bytes + queue_bytes + replay_queue_bytes + settings.tokenizer.cache_bytes;
  expect(needed).toBeLessThan(Number.parseInt(container.resources.limits.memory, 10) * GIB);
});

test("probes ask routes that there are and that need no token", () => {
  for (const probe of [container.readinessProbe, container.livenessProbe]) {
    const operation = OPERATIONS.find(({ path, method }) => path === probe.httpGet.path && method === "get");
    expect(operation?.access).toBe("open");
    expect(container.ports.map(({ name }) => name)).toContain(probe.httpGet.port);
  }
});

test("a pod goes on answering until the service has forgotten it, and has the time to stop after that", () => {
  const [program, seconds] = container.lifecycle.preStop.exec.command;
  expect(program).toBe("sleep");
  expect(Number(seconds)).toBeGreaterThanOrEqual(5);
  // The process ends within 5 s of its signal (stop.e2e.test.ts).
  expect(pod.terminationGracePeriodSeconds).toBeGreaterThanOrEqual(Number(seconds) + 5);
});

test("the container has no more rights than a process needs that opens sockets and writes to two folders", () => {
  expect(container.securityContext).toEqual({
    allowPrivilegeEscalation: false,
    readOnlyRootFilesystem: true,
    capabilities: { drop: ["ALL"] },
  });
  expect(pod).toMatchObject({
    securityContext: { runAsNonRoot: true, seccompProfile: { type: "RuntimeDefault" } },
  });
});

test("service, budget and autoscaler mean the pods of the deployment", () => {
  const labels = deployment.spec.template.metadata.labels;
  expect(deployment.spec.selector.matchLabels).toEqual(labels);
  expect(only("Service")).toMatchObject({ spec: { selector: labels } });
  expect(only("PodDisruptionBudget")).toMatchObject({ spec: { selector: { matchLabels: labels } } });
  expect(only("HorizontalPodAutoscaler")).toMatchObject({
    spec: { scaleTargetRef: { kind: "Deployment", name: deployment.metadata.name } },
  });
});

test("the kustomization has every manifest, and the image by the name that they use", () => {
  const { resources, images } = parse(read("kustomization.yaml")) as {
    resources: string[];
    images: { name: string }[];
  };
  expect([...resources].sort()).toEqual([...files].sort());
  expect(images.map(({ name }) => name)).toEqual([container.image]);
});

test("a new pod begins with a ready one's index before an old one leaves, and an apply does not reset the autoscaler's number", () => {
  expect(deployment.spec).toMatchObject({ strategy: { rollingUpdate: { maxUnavailable: 0, maxSurge: 1 } } });
  expect(deployment.spec).not.toHaveProperty("replicas");
  const { port } = settings.http;
  expect(settings.snapshot.warm_from).toBe(`http://${only("Service").metadata.name}:${port}`);
  expect(container.readinessProbe.httpGet.path).toBe("/readyz");
  expect(deployment.spec.template.spec).toMatchObject({
    topologySpreadConstraints: [
      { topologyKey: "kubernetes.io/hostname" },
      { topologyKey: "topology.kubernetes.io/zone" },
    ],
  });
});

test("the port is open to callers alone, and the tools' role forwards ports in both ways that API servers ask for", () => {
  expect(only("NetworkPolicy")).toMatchObject({
    spec: { podSelector: deployment.spec.selector, policyTypes: ["Ingress"] },
  });
  expect(only("Role", "kvsync-tools")["rules"]).toEqual([
    { apiGroups: [""], resources: ["pods"], verbs: ["get"] },
    { apiGroups: [""], resources: ["pods/portforward"], verbs: ["get", "create"] },
  ]);
});

const kubectl = spawnSync("kubectl", ["version", "--client"]);
test.skipIf(kubectl.status !== 0)("every namespace is the kustomization's, whatever it is", () => {
  const folder = join(scratch, "kustomization");
  cpSync(FOLDER, folder, { recursive: true });
  const text = read("kustomization.yaml").replace("namespace: serving", "namespace: elsewhere");
  writeFileSync(join(folder, "kustomization.yaml"), text);
  const { stdout } = spawnSync("kubectl", ["kustomize", folder], { encoding: "utf8" });
  expect(stdout).toContain("namespace: elsewhere");
  expect(stdout).not.toContain("serving");
});
