/**
 * The manifests in infra/kubernetes, read as data: least rights, no secrets, settings that the daemon takes, and names that fit each other.
 */
import { spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, expect, test } from "vitest";
import { parse, parseAllDocuments } from "yaml";

import { presetRule, ruleOf } from "../src/discovery/kubernetes/pod-rule.ts";
import { OPERATIONS } from "../src/openapi/operations.ts";
import { PRESETS } from "../src/settings/kubernetes-settings.ts";
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
const files = readdirSync(FOLDER).filter((name) => name.endsWith(".yaml") && name !== "kustomization.yaml");
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
  expect(manifests.filter(({ kind }) => kind === "ClusterRoleBinding")).toEqual([]);
  const account = only("ServiceAccount");
  expect(only("RoleBinding")).toMatchObject({
    roleRef: { kind: "Role", name: only("Role", "kvsync-daemon").metadata.name },
    subjects: [{ kind: "ServiceAccount", name: account.metadata.name }],
  });
  expect(account["automountServiceAccountToken"]).toBe(false);
  expect(pod.serviceAccountName).toBe(account.metadata.name);
});

test("rights that single settings need list and watch one kind each, and the base binds them to no account", () => {
  const kinds = { pools: "inferencepools", services: "endpointslices", namespaces: "namespaces" };
  for (const [setting, resource] of Object.entries(kinds)) {
    const role = only(setting === "namespaces" ? "ClusterRole" : "Role", `kvsync-daemon-${setting}`);
    expect(role["rules"]).toMatchObject([{ resources: [resource], verbs: ["list", "watch"] }]);
  }
  expect(manifests.filter(({ kind }) => kind === "ClusterRole")).toHaveLength(1);
});

const COMPONENTS = { pools: "Role", services: "Role", namespaces: "ClusterRole" };
test.each(Object.entries(COMPONENTS))(
  "the component %s binds its role to the daemon's account, and nothing else",
  (setting, kind) => {
    const component = parse(read(`${setting}/kustomization.yaml`)) as { kind: string; resources: string[] };
    expect(component).toMatchObject({ kind: "Component", resources: ["rbac.yaml"] });
    const binding = parse(read(`${setting}/rbac.yaml`)) as Manifest;
    expect(binding).toMatchObject({
      kind: `${kind}Binding`,
      roleRef: { kind, name: only(kind, `kvsync-daemon-${setting}`).metadata.name },
      subjects: [{ kind: "ServiceAccount", name: only("ServiceAccount").metadata.name }],
    });
  },
);

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
  expect(settings.snapshot.warm_from).toEqual([`http://${only("Service").metadata.name}:${port}`]);
  expect(container.readinessProbe.httpGet.path).toBe("/readyz");
  expect(deployment.spec.template.spec).toMatchObject({
    topologySpreadConstraints: [
      { topologyKey: "kubernetes.io/hostname", labelSelector: deployment.spec.selector },
      { topologyKey: "topology.kubernetes.io/zone", labelSelector: deployment.spec.selector },
    ],
  });
});

/** A peer of a connection, as a network policy sees it. */
interface Peer {
  readonly namespace: Readonly<Record<string, string>>;
  readonly pod: Readonly<Record<string, string>>;
  readonly address?: string;
}

interface Selector {
  readonly matchLabels?: Readonly<Record<string, string>>;
}

interface PolicyPeer {
  readonly podSelector?: Selector;
  readonly namespaceSelector?: Selector;
  readonly ipBlock?: { readonly cidr: string };
}

interface PolicyRule {
  readonly from?: readonly PolicyPeer[];
  readonly to?: readonly PolicyPeer[];
  readonly ports?: readonly { readonly protocol: string; readonly port: number | string }[];
}

const OWN_NAMESPACE = { "kubernetes.io/metadata.name": "serving" };
const policy = only("NetworkPolicy")["spec"] as {
  podSelector: Selector;
  policyTypes: string[];
  ingress: PolicyRule[];
  egress: PolicyRule[];
};

/** Whether every label that is asked for is there. An empty selector selects everything. */
function selects(selector: Selector, labels: Readonly<Record<string, string>>): boolean {
  return Object.entries(selector.matchLabels ?? {}).every(([name, value]) => labels[name] === value);
}

/** The rules of kubernetes.io/docs/concepts/services-networking/network-policies, for the fields that we use. */
function allows(rules: readonly PolicyRule[], peer: Peer, protocol: string, port: number | string): boolean {
  return rules.some(({ from, to, ports }) => {
    const peers = from ?? to;
    const isPeer = peers?.some(({ podSelector, namespaceSelector, ipBlock }) => {
      if (ipBlock !== undefined) return ipBlock.cidr === `${peer.address}/32`;
      const inNamespace =
        namespaceSelector === undefined
          ? peer.namespace === OWN_NAMESPACE
          : selects(namespaceSelector, peer.namespace);
      return inNamespace && selects(podSelector ?? {}, peer.pod);
    });
    const isPort = ports?.some((one) => one.protocol === protocol && one.port === port);
    return (isPeer ?? true) && (isPort ?? true);
  });
}

test("the port is open to callers alone", () => {
  expect(policy.podSelector).toEqual(deployment.spec.selector);
  expect(policy.policyTypes).toEqual(["Ingress", "Egress"]);
  const gateway = { namespace: OWN_NAMESPACE, pod: { app: "gateway" } };
  const prometheus = { namespace: { "kvsync.io/callers": "true" }, pod: { app: "prometheus" } };
  const foreign = { namespace: { "kubernetes.io/metadata.name": "other" }, pod: { app: "gateway" } };
  expect([gateway, prometheus, foreign].map((peer) => allows(policy.ingress, peer, "TCP", "http"))).toEqual([
    true,
    true,
    false,
  ]);
  expect(allows(policy.ingress, gateway, "TCP", 22)).toBe(false);
});

test("the daemon reaches what its settings name: DNS, the API server, engines at any port, a sibling's snapshot; nothing else", () => {
  const { egress } = policy;
  const outside = { namespace: {}, pod: {}, address: "203.0.113.7" };
  const dns = { namespace: { "kubernetes.io/metadata.name": "kube-system" }, pod: { "k8s-app": "kube-dns" } };
  for (const peer of [dns, { ...outside, address: "169.254.20.10" }])
    for (const protocol of ["UDP", "TCP"]) expect(allows(egress, peer, protocol, 53)).toBe(true);
  expect(settings.discovery.kubernetes.enabled).toBe(true);
  for (const port of [443, 6443]) expect(allows(egress, outside, "TCP", port)).toBe(true);
  // The label by which pods are discovered, and any port that their annotations may name.
  const [label = "", value = "true"] = (ruleOf(settings.discovery.kubernetes).enabledBy ?? "").split("=");
  const engine = { namespace: OWN_NAMESPACE, pod: { [label]: value } };
  for (const port of [5557, 5657, 5564, 31_000]) expect(allows(egress, engine, "TCP", port)).toBe(true);
  expect(settings.discovery.kubernetes.namespaces).toEqual([]);
  const sibling = { namespace: OWN_NAMESPACE, pod: { ...deployment.spec.template.metadata.labels } };
  expect(settings.snapshot.warm_from).not.toEqual([]);
  expect(allows(egress, sibling, "TCP", container.ports[0]?.name ?? "")).toBe(true);

  const other = { namespace: OWN_NAMESPACE, pod: { app: "database" } };
  const metadata = { ...outside, address: "169.254.169.254" };
  const blocked = [other, outside, metadata].map((peer) => allows(egress, peer, "TCP", 80));
  expect([...blocked, allows(egress, outside, "UDP", 53)]).toEqual([false, false, false, false]);
  // Each of these would need a rule.
  const { sync, tracing, health, discovery } = settings;
  expect([sync.tokenizer_endpoint, tracing.endpoint]).toEqual([null, null]);
  expect([health.dependencies, discovery.dns_servers, settings.engines]).toEqual([[], [], []]);
});

test.each(PRESETS.filter((preset) => preset !== "aibrix"))(
  "the component of the preset %s lets the daemon reach the pods that the preset selects, and those alone",
  (preset) => {
    const folder = `presets/${preset}`;
    expect(parse(read(`${folder}/kustomization.yaml`))).toMatchObject({
      kind: "Component",
      patches: [
        {
          path: "network-policy.yaml",
          target: { kind: "NetworkPolicy", name: only("NetworkPolicy").metadata.name },
        },
      ],
    });
    const [patch, ...more] = parse(read(`${folder}/network-policy.yaml`)) as {
      op: string;
      path: string;
      value: { to: [{ podSelector: LabelSelector }]; ports?: unknown };
    }[];
    expect(more).toEqual([]);
    expect(patch).toMatchObject({ op: "add", path: "/spec/egress/-" });
    expect(patch?.value.ports).toBeUndefined();
    const { podSelector } = patch?.value.to[0] ?? {};
    expect(textOf(podSelector ?? {})).toBe(presetRule(preset).enabledBy);
  },
);

/** A selector in the words of a list request. */
function textOf({ matchLabels = {}, matchExpressions = [] }: LabelSelector): string {
  const equal = Object.entries(matchLabels).map(([key, value]) => `${key}=${value}`);
  const others = matchExpressions.map(({ key, operator, values }) =>
    operator === "In" ? `${key} in (${values.join(",")})` : `${key}!=${values.join(",")}`,
  );
  return [...equal, ...others].join(",");
}

interface LabelSelector {
  readonly matchLabels?: Readonly<Record<string, string>>;
  readonly matchExpressions?: readonly {
    readonly key: string;
    readonly operator: "In" | "NotIn";
    readonly values: readonly string[];
  }[];
}

test("the tools' role forwards ports in both ways that API servers ask for", () => {
  expect(only("Role", "kvsync-tools")["rules"]).toEqual([
    { apiGroups: [""], resources: ["pods"], verbs: ["get"] },
    { apiGroups: [""], resources: ["pods/portforward"], verbs: ["get", "create"] },
  ]);
});

/** The fields of a kustomization that ours uses; another one needs a case in `rendered`. */
interface Kustomization {
  readonly namespace: string;
  readonly resources: readonly string[];
  readonly replacements: readonly {
    readonly source: { readonly kind: string; readonly name: string; readonly fieldPath: string };
    readonly targets: readonly {
      readonly select: { readonly kind: string; readonly name?: string };
      readonly fieldPaths: readonly string[];
    }[];
  }[];
}

type Tree = Record<string, unknown>;

/** Where the last part of a path lies. */
function parentOf(root: object, path: string): readonly [parent: Tree, key: string] {
  const parts = path.split(".");
  const key = parts.pop() ?? "";
  const parent = parts.reduce((tree, part) => tree[part] as Tree, root as Tree);
  expect(Object.hasOwn(parent, key), path).toBe(true);
  return [parent, key];
}

/** What `kubectl kustomize` makes of ours: a namespace for everything that lives in one, then the replacements. */
function rendered(namespace: string): readonly Manifest[] {
  const ours = parse(read("kustomization.yaml")) as Kustomization;
  const fields = ["apiVersion", "kind", "namespace", "resources", "replacements", "images"];
  expect(Object.keys(ours).filter((field) => !fields.includes(field))).toEqual([]);
  const all = ours.resources
    .flatMap((name) => parseAllDocuments(read(name)))
    .map((document) => document.toJS() as Manifest);
  const inNamespace = all.filter(({ kind }) => kind !== "Namespace");
  for (const { metadata } of inNamespace) Object.assign(metadata, { namespace });
  for (const { source, targets } of ours.replacements) {
    const from = all.find(({ kind, metadata }) => kind === source.kind && metadata.name === source.name);
    const [parent, key] = parentOf(from ?? NONE, source.fieldPath);
    for (const { select, fieldPaths } of targets) {
      const selected = all.filter(
        ({ kind, metadata }) =>
          kind === select.kind && (select.name === undefined || select.name === metadata.name),
      );
      // Of a component.
      if (select.kind !== "ClusterRoleBinding") expect(selected, JSON.stringify(select)).not.toEqual([]);
      for (const manifest of selected)
        for (const path of fieldPaths) {
          const [target, field] = parentOf(manifest, path);
          target[field] = parent[key];
        }
    }
  }
  return all;
}

test("the namespace of the kustomization decides where everything goes, also the Namespace itself and the account of the binding", () => {
  const all = rendered("elsewhere");
  expect(all.find(({ kind }) => kind === "Namespace")?.metadata.name).toBe("elsewhere");
  expect(all.find(({ kind }) => kind === "RoleBinding")).toMatchObject({
    subjects: [{ kind: "ServiceAccount", namespace: "elsewhere" }],
  });
  // `warm_from` is a name without a namespace.
  expect(JSON.stringify(all)).not.toMatch(/\bserving\b/);
});

const kubectl = spawnSync("kubectl", ["version", "--client"]);
test.skipIf(kubectl.status !== 0)("every namespace is the kustomization's, whatever it is", () => {
  const folder = join(scratch, "kustomization");
  cpSync(FOLDER, folder, { recursive: true });
  const components = [
    "pools",
    "services",
    "namespaces",
    ...PRESETS.slice(1).map((preset) => `presets/${preset}`),
  ];
  const text = `${read("kustomization.yaml").replace("namespace: serving", "namespace: elsewhere")}components: ${JSON.stringify(components)}\n`;
  writeFileSync(join(folder, "kustomization.yaml"), text);
  const { stdout } = spawnSync("kubectl", ["kustomize", folder], { encoding: "utf8" });
  expect(stdout).toContain("namespace: elsewhere");
  expect(stdout).not.toMatch(/\bserving$/m);
  // The base's rule and one of each preset, and the bindings of the base and of the components.
  expect(stdout.match(/^kind: (?:Cluster)?RoleBinding$/gm)).toHaveLength(4);
  for (const label of ["kv-events-enabled", "inference-serving", "serving-engine", "dynamo-component-type"])
    expect(stdout).toContain(label);
});
