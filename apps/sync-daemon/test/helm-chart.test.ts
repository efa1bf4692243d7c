/**
 * The Helm chart in infra/helm/kvsync, rendered by Helm: against what kustomize makes of infra/kubernetes, as data. Its schema is made by
 * chart-values.ts.
 *
 * Both programs are in one package of the npm registry, which .ci/run installs.
 */
import { spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { afterAll, describe, expect, test } from "vitest";
import { parse, parseAllDocuments, stringify } from "yaml";

import { readSettings } from "../src/settings/read-settings.ts";
import { SETTING_ROWS, type Settings } from "../src/settings/settings.ts";

const CHART = fileURLToPath(new URL("../../../infra/helm/kvsync/", import.meta.url));
const BASE = fileURLToPath(new URL("../../../infra/kubernetes/", import.meta.url));
const MANIFEST = new URL("../package.json", import.meta.url);
/** Dashboards are large. */
const OUTPUT_BYTES_MAX = 64 * 1024 * 1024;

const HAS_PROGRAMS = ["helm", "kubectl"].every(
  (program) =>
    spawnSync(program, [program === "helm" ? "version" : "kustomize", "--help"]).error === undefined,
);

type Tree = Record<string, unknown>;
interface Manifest {
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string; labels?: Record<string, string> };
  readonly [field: string]: unknown;
}

const scratch = mkdtempSync(join(tmpdir(), "kvsync-chart-"));
afterAll(() => {
  rmSync(scratch, { recursive: true, force: true });
});

let files = 0;
function fileWith(content: unknown): string {
  files += 1;
  const path = join(scratch, `${files}.yaml`);
  writeFileSync(path, typeof content === "string" ? content : stringify(content));
  return path;
}

function run(program: string, args: readonly string[]): string {
  const { status, stdout, stderr } = spawnSync(program, args, {
    encoding: "utf8",
    maxBuffer: OUTPUT_BYTES_MAX,
  });
  expect([status, stderr]).toEqual([0, ""]);
  return stdout;
}

function documents(text: string): readonly Manifest[] {
  return parseAllDocuments(text)
    .map((document) => document.toJS() as Manifest | null)
    .filter((manifest) => manifest !== null);
}

function chart(values: unknown, release = "kvsync"): readonly Manifest[] {
  return documents(
    run("helm", ["template", release, CHART, "--namespace", "serving", "--values", fileWith(values)]),
  );
}

/** What Helm says of values that it refuses. */
function refusal(values: unknown, release = "kvsync"): string {
  const { status, stderr } = spawnSync("helm", ["template", release, CHART, "--values", fileWith(values)], {
    encoding: "utf8",
    maxBuffer: OUTPUT_BYTES_MAX,
  });
  expect(status).toBe(1);
  return stderr;
}

function kustomized(components: readonly string[]): readonly Manifest[] {
  const folder = mkdtempSync(join(scratch, "base-"));
  cpSync(BASE, folder, { recursive: true });
  const path = join(folder, "kustomization.yaml");
  writeFileSync(path, `${readFileSync(path, "utf8")}components: ${JSON.stringify(components)}\n`);
  return documents(run("kubectl", ["kustomize", folder]));
}

/** Labels that Helm's objects have and those of the base have not. */
const LABELS_OF_RELEASES =
  /^(?:app\.kubernetes\.io\/(?:instance|version|managed-by)|helm\.sh\/chart|checksum\/config)$/;

/** Kinds that run the daemon. */
const WORKLOAD = /^(?:Deployment|StatefulSet)$/;

/** Kinds that someone selects by label. */
const LABELLED = /^(?:Service|Deployment|StatefulSet|ServiceMonitor|PrometheusRule)$/;

/** A tree without those, and without what is then empty. A container's ports have no order. */
function comparable(tree: unknown): unknown {
  if (Array.isArray(tree)) return tree.map(comparable).toSorted(byContainerPort);
  if (typeof tree !== "object" || tree === null) return tree;
  const entries = Object.entries(tree)
    .filter(([key]) => !LABELS_OF_RELEASES.test(key))
    .map(([key, child]) => [key, comparable(child)] as const)
    .filter(([key, child]) => !(/^(?:labels|annotations)$/.test(key) && isEmpty(child)));
  return Object.fromEntries(entries.sort(([a], [b]) => (a < b ? -1 : 1)));
}

function byContainerPort(a: unknown, b: unknown): number {
  const portOf = (one: unknown): number => (one as { containerPort?: number } | null)?.containerPort ?? 0;
  return portOf(a) - portOf(b);
}

function isEmpty(tree: unknown): boolean {
  return typeof tree === "object" && tree !== null && Object.keys(tree).length === 0;
}

interface Container {
  env?: readonly { readonly name: string; readonly value: string }[];
}

/** The settings that the daemon has: of the file and of the variables, which the base's picker uses. */
function settingsOf(manifests: readonly Manifest[]): unknown {
  const map = manifests.find(
    ({ kind, metadata }) => kind === "ConfigMap" && metadata.name === "kvsync-daemon",
  );
  const { "kvsync.yaml": text = "" } = map?.["data"] as Record<string, string>;
  const [container] = containersOf(manifests);
  const variables = (container?.env ?? []).filter(({ name }) => name.startsWith("KVSYNC_"));
  return readSettings(
    ["--config", fileWith(text)],
    Object.fromEntries(variables.map(({ name, value }) => [name, value])),
  ).settings;
}

function containersOf(manifests: readonly Manifest[]): readonly Container[] {
  const workload = manifests.find(({ kind }) => WORKLOAD.test(kind));
  const { template } = workload?.["spec"] as { template: { spec: { containers: Container[] } } };
  return template.spec.containers;
}

/** Objects by kind and name, without namespaces, unbound roles, and settings, which are compared by themselves. */
function comparableObjects(manifests: readonly Manifest[]): ReadonlyMap<string, unknown> {
  const bound = new Set(
    manifests
      .filter(({ kind }) => kind.endsWith("Binding"))
      .map((binding) => {
        const { kind, name } = binding["roleRef"] as { kind: string; name: string };
        return `${kind} ${name}`;
      }),
  );
  const result = new Map<string, unknown>();
  for (const manifest of manifests) {
    const { kind, metadata } = manifest;
    const id = `${kind} ${metadata.name}`;
    if (kind === "Namespace") continue;
    if (kind.endsWith("Role") && !bound.has(id) && metadata.name !== "kvsync-tools") continue;
    const copy = structuredClone(manifest) as Manifest & { data?: Tree };
    if (id === "ConfigMap kvsync-daemon") delete copy.data;
    // The base labels what is looked for by label alone.
    if (!LABELLED.test(kind)) delete copy.metadata.labels?.["app.kubernetes.io/name"];
    for (const container of WORKLOAD.test(kind) ? containersOf([copy]) : []) delete container.env;
    expect(result.has(id), id).toBe(false);
    result.set(id, comparable(copy));
  }
  return result;
}

/** Components of kustomize, and the values that mean the same. */
const EQUAL: readonly (readonly [components: readonly string[], values: Tree])[] = [
  [[], {}],
  [["picker"], { picker: { enabled: true } }],
  [
    ["operator"],
    {
      serviceMonitor: { enabled: true },
      prometheusRule: { enabled: true },
      dashboards: { enabled: true },
    },
  ],
  [["shards"], { shards: { enabled: true, seedSecret: "kvsync-seed" }, autoscaling: { enabled: false } }],
  [
    ["picker", "shards"],
    {
      picker: { enabled: true },
      shards: { enabled: true, seedSecret: "kvsync-seed" },
      autoscaling: { enabled: false },
    },
  ],
];
/** The components change rights and rules, and leave the settings to whoever lists them. */
const EQUAL_RIGHTS: readonly (readonly [component: string, settings: Tree])[] = [
  ["pools", { pools: ["*"] }],
  ["services", { services: ["engines"] }],
  ["namespaces", { namespace_selector: "team=ml" }],
];

describe.skipIf(!HAS_PROGRAMS && process.env["CI"] === undefined)(
  "the chart (needs helm and kubectl)",
  () => {
    test.each(EQUAL)("is what kustomize makes with the components %j", (components, values) => {
      const ours = chart(values);
      const theirs = kustomized(components);
      expect(comparableObjects(ours)).toEqual(comparableObjects(theirs));
      expect(settingsOf(ours)).toEqual(settingsOf(theirs));
    });

    test.each(EQUAL_RIGHTS)(
      "grants what the component %s grants, once the settings ask for it",
      (component, settings) => {
        const ours = chart({ config: { discovery: { kubernetes: settings } } });
        expect(comparableObjects(ours)).toEqual(comparableObjects(kustomized([component])));
      },
    );

    test.each(["llm-d", "production-stack", "dynamo"])(
      "lets the daemon connect to the pods of the preset %s, as its component does",
      (preset) => {
        const egress = (manifests: readonly Manifest[]): readonly unknown[] => {
          const policy = manifests.find(({ kind }) => kind === "NetworkPolicy");
          return (policy?.["spec"] as { egress: readonly unknown[] }).egress.map(comparable);
        };
        const ours = egress(chart({ config: { discovery: { kubernetes: { preset } } } }));
        // The component adds its rule to that of the base's own preset.
        const added = egress(kustomized([`presets/${preset}`])).at(-1);
        expect(ours).toContainEqual(added);
        expect(ours).toHaveLength(egress(chart({})).length);
      },
    );

    test("takes every setting of the daemon, and hands it on as it is", () => {
      const whole: Tree = {};
      for (const { path, initial } of SETTING_ROWS) {
        const folder = path.slice(0, -1).reduce<Tree>((tree, key) => {
          tree[key] ??= {};
          return tree[key] as Tree;
        }, whole);
        folder[path.at(-1) ?? ""] = initial;
      }
      // The defaults have no tokens on loopback, which no probe of a pod reaches. Helm drops a key whose value is null.
      Object.assign(whole["http"] as Tree, { host: "0.0.0.0" });
      Object.assign(whole["security"] as Tree, { trust_every_caller_on_the_network: true });
      const settings = settingsOf(chart({ config: whole, tokens: { existingSecret: "" } }));
      expect(settings).toEqual(readSettings(["--config", fileWith(whole)], {}).settings);
    });

    const MISSPELT: readonly (readonly [place: string, values: Tree])[] = [
      ["config.limits", { config: { limits: { index_byte: 1 } } }],
      ["config.discovery.kubernetes", { config: { discovery: { kubernetes: { preset: "aibrick" } } } }],
      ["config.engines", { config: { engines: [{ id: "a", model: "m", endpont: "tcp://a:1" }] } }],
      ["config.http.port", { config: { http: { port: "7070" } } }],
      ["persistence", { persistence: { enable: true } }],
      ["shards", { shards: { size: 4 } }],
      ["picker.pool", { picker: { pool: { targetPort: 8000 } } }],
      ["image.digest", { image: { digest: "sha256:short" } }],
      ["resources", { resources: { limits: { memory: "4 GiB" } } }],
      ["serviceMonitor.interval", { serviceMonitor: { interval: "15 s" } }],
      ["serviceMonitor.interval", { serviceMonitor: { interval: "2m" } }],
      ["serviceMonitor.interval", { serviceMonitor: { interval: "0s" } }],
      ["serviceMonitor.tokenSecret.key", { serviceMonitor: { tokenSecret: { name: "a", key: "" } } }],
      ["replicaCount", { replicaCount: 3 }],
      ["networkPolicy.engines.0", { networkPolicy: { engines: [{ matchLabls: { app: "vllm" } }] } }],
      [
        "networkPolicy.extraIngress.0.from.0",
        { networkPolicy: { extraIngress: [{ from: [{ podselector: {} }] }] } },
      ],
      [
        "networkPolicy.extraEgress.0.ports.0",
        { networkPolicy: { extraEgress: [{ ports: [{ protocol: "TCP", prot: 1 }] }] } },
      ],
      ["serviceMonitor.tlsConfig", { serviceMonitor: { tlsConfig: { servername: "kvsync" } } }],
      ["ingress.tls.0", { ingress: { tls: [{ secretname: "page" }] } }],
      ["tolerations.0", { tolerations: [{ key: "gpu", operater: "Exists" }] }],
      ["affinity", { affinity: { podAntiAfinity: {} } }],
      ["extraEnv.0.valueFrom", { extraEnv: [{ name: "A", valueFrom: { secretRef: {} } }] }],
      ["extraVolumes.0", { extraVolumes: [{ name: "a", emptyDr: {} }] }],
      ["extraVolumeMounts.0", { extraVolumeMounts: [{ name: "a", mountpath: "/a" }] }],
    ];
    test.each(MISSPELT)(
      "a misspelt or ill-formed value in %j is refused with its place (V1)",
      (place, values) => {
        expect(refusal(values)).toMatch(
          new RegExp(`at '/?${place.split(".").join("/")}|'${place}' not allowed`),
        );
      },
    );

    const CONTRADICTORY: readonly (readonly [said: RegExp, values: Tree, release: string])[] = [
      [/names begin with kvsync-/, { prometheusRule: { enabled: true } }, "prefix-index"],
      [/no such alert/, { prometheusRule: { enabled: true, disabled: ["NoSuchAlert"] } }, "kvsync"],
      [
        /kubelet's probes have none/,
        { config: { tls: { client_ca_file: "/etc/kvsync/tls/ca.crt" } } },
        "kvsync",
      ],
      [
        /serviceMonitor\.tlsConfig is empty/,
        { tls: { existingSecret: "t" }, serviceMonitor: { enabled: true } },
        "kvsync",
      ],
      [/ingress\.hosts is empty/, { ingress: { enabled: true } }, "kvsync"],
      [
        /minReplicas 5 is above autoscaling\.maxReplicas 2/,
        { autoscaling: { minReplicas: 5, maxReplicas: 2 } },
        "kvsync",
      ],
      [/config\.http\.host ::1 can be reached inside/, { config: { http: { host: "::1" } } }, "kvsync"],
      [/config\.http\.host 127\.0\.0\.1/, { config: { http: { host: "127.0.0.1" } } }, "kvsync"],
      [/config\.http\.port is 0/, { config: { http: { port: 0 } } }, "kvsync"],
      [
        /config\.picker\.health_port is 0/,
        { picker: { enabled: true }, config: { picker: { health_port: 0 } } },
        "kvsync",
      ],
      [/tokens\.existingSecret is empty/, { tokens: { existingSecret: "" } }, "kvsync"],
      [
        /config\.snapshot\.directory \/data is on the container's root/,
        { config: { snapshot: { directory: "/data" } } },
        "kvsync",
      ],
      [
        /config\.discovery\.state_directory \/var\/lib\/kvsync-2/,
        { config: { discovery: { state_directory: "/var/lib/kvsync-2" } } },
        "kvsync",
      ],
      [/autoscaling\.enabled: false/, { shards: { enabled: true, seedSecret: "s" } }, "kvsync"],
      [
        /config\.shard and shards\.enabled exclude each other/,
        {
          shards: { enabled: true, seedSecret: "s" },
          autoscaling: { enabled: false },
          config: { shard: { index: 2, count: 4 } },
        },
        "kvsync",
      ],
      [
        /at most 1024 pods/,
        {
          shards: { enabled: true, count: 128, replicas: 9, seedSecret: "s" },
          autoscaling: { enabled: false },
        },
        "kvsync",
      ],
      [
        /expected a Secret with the key seed/,
        { shards: { enabled: true }, autoscaling: { enabled: false } },
        "kvsync",
      ],
      [
        /expected the number before the change/,
        {
          shards: { enabled: true, count: 4, previousCount: 4, seedSecret: "s" },
          autoscaling: { enabled: false },
        },
        "kvsync",
      ],
    ];
    test.each(CONTRADICTORY)("values that contradict each other are refused: %s", (said, values, release) => {
      expect(refusal(values, release)).toMatch(said);
    });

    test.each([
      [
        "a folder of its own mount",
        {
          config: { snapshot: { directory: "/data/snapshots" } },
          extraVolumeMounts: [{ name: "data", mountPath: "/data/" }],
          extraVolumes: [{ name: "data", emptyDir: {} }],
        },
      ],
      [
        "callers that a proxy authenticates",
        {
          tokens: { existingSecret: "" },
          config: { security: { trust_every_caller_on_the_network: true } },
        },
      ],
      [
        "tokens by the environment",
        {
          tokens: { existingSecret: "" },
          extraEnv: [{ name: "KVSYNC_SECURITY_TOKENS_FILE", value: "/a" }],
        },
      ],
      ["as many replicas as there may be", { autoscaling: { minReplicas: 3, maxReplicas: 3 } }],
    ])("values that only look as if they contradict each other are taken: %s", (_, values) => {
      expect(chart(values).length).toBeGreaterThan(3);
    });

    test.each(readdirSync(join(CHART, "ci")))(
      "%s passes Helm's linter, and the daemon takes its settings",
      (name) => {
        const values = join(CHART, "ci", name);
        run("helm", ["lint", "--strict", CHART, "--values", values]);
        const manifests = chart(readFileSync(values, "utf8"));
        settingsOf(manifests);
        for (const { metadata } of manifests) expect(metadata.name).toMatch(/^(?:kvsync-|chat$)/);
        expect(
          new Set(manifests.map((one) => `${one.kind} ${one.metadata.namespace ?? ""} ${one.metadata.name}`))
            .size,
        ).toBe(manifests.length);
      },
    );

    test("with claims it is a StatefulSet that scales, and its second Service is no target", () => {
      const manifests = chart({
        persistence: { enabled: true, size: "7Gi" },
        serviceMonitor: { enabled: true },
      });
      const of = (kind: string, name = "kvsync-daemon"): Tree =>
        manifests.find((one) => one.kind === kind && one.metadata.name === name) as unknown as Tree;
      expect(manifests.some(({ kind }) => kind === "Deployment")).toBe(false);
      expect(of("StatefulSet")).toMatchObject({
        spec: {
          serviceName: "kvsync-daemon-pods",
          volumeClaimTemplates: [
            { metadata: { name: "state" }, spec: { resources: { requests: { storage: "7Gi" } } } },
          ],
        },
      });
      const { spec } = of("StatefulSet") as {
        spec: { template: { spec: { volumes: readonly { name: string }[] } } };
      };
      expect(spec.template.spec.volumes.map(({ name }) => name)).not.toContain("state");
      expect(of("HorizontalPodAutoscaler")).toMatchObject({
        spec: { scaleTargetRef: { kind: "StatefulSet" } },
      });
      const { endpoints } = of("ServiceMonitor")["spec"] as { endpoints: readonly { port: string }[] };
      expect(endpoints.map(({ port }) => port)).toEqual(["http"]);
      expect(of("Service", "kvsync-daemon-pods")["spec"]).not.toHaveProperty("ports");
    });

    test("a number of shards that changes keeps the pods before it as they are, and the new ones take their snapshots", () => {
      const shards = { enabled: true, replicas: 2, seedSecret: "kvsync-seed" };
      const rest = { autoscaling: { enabled: false }, persistence: { enabled: true } };
      const setOf = (values: Tree, count: number): Manifest | undefined =>
        chart({ ...rest, shards: { ...shards, ...values } }).find(
          ({ kind, metadata }) => kind === "StatefulSet" && metadata.name === `kvsync-daemon-of-${count}`,
        );
      const before = setOf({ count: 4 }, 4);
      const change = { count: 8, previousCount: 4 };
      expect(before).toBeDefined();
      expect(setOf(change, 4)).toEqual(before);
      const after = setOf(change, 8);
      expect(after).toMatchObject({
        spec: {
          replicas: 16,
          serviceName: "kvsync-daemon-pods",
          selector: { matchLabels: { "kvsync.io/shards": "8" } },
          template: { metadata: { labels: { "kvsync.io/shards": "8" } } },
        },
      });
      expect(containersOf(after === undefined ? [] : [after])[0]?.env).toContainEqual({
        name: "KVSYNC_SHARD_COUNT",
        value: "8",
      });
      // When the change is over, the new pods stay as they are.
      expect(setOf({ count: 8 }, 8)).toEqual(after);
      const { snapshot } = settingsOf(chart({ ...rest, shards: { ...shards, ...change } })) as Settings;
      expect(snapshot.warm_from).toHaveLength(24);
      expect(snapshot.warm_from[0]).toBe("http://kvsync-daemon-of-4-0.kvsync-daemon-pods:7070");
      expect(snapshot.warm_from.at(-1)).toBe("http://kvsync-daemon-of-8-15.kvsync-daemon-pods:7070");
    });

    test("settings that change make new pods, and another list of engines does not", () => {
      const checksum = (values: Tree): unknown => {
        const workload = chart(values).find(({ kind }) => kind === "Deployment");
        const { template } = workload?.["spec"] as { template: { metadata: { annotations: Tree } } };
        return template.metadata.annotations["checksum/config"];
      };
      const engines = [{ id: "a", model: "m", endpoint: "tcp://a:5557" }];
      expect(checksum({ config: { engines } })).toBe(checksum({}));
      expect(checksum({ config: { log: { level: 2 } } })).not.toBe(checksum({}));
    });

    test("it is packaged under its version, with every file that its templates read", () => {
      const { version } = JSON.parse(readFileSync(MANIFEST, "utf8")) as { version: string };
      run("helm", ["package", CHART, "--destination", scratch]);
      const packed = join(scratch, `kvsync-${version}.tgz`);
      const values = fileWith({ prometheusRule: { enabled: true }, dashboards: { enabled: true } });
      const rendered = documents(run("helm", ["template", "kvsync", packed, "--values", values]));
      const names = rendered.map(({ kind, metadata }) => `${kind} ${metadata.name}`);
      expect(names).toContain("PrometheusRule kvsync-daemon");
      expect(names).toContain("ConfigMap kvsync-overview-dashboard");
    });

    test("alerts that are disabled are left out, and their neighbours stay", () => {
      const alerts = (values: Tree): readonly string[] => {
        const rule = chart({ prometheusRule: { enabled: true, ...values } }).find(
          ({ kind }) => kind === "PrometheusRule",
        );
        const { groups } = rule?.["spec"] as { groups: readonly { rules: readonly { alert?: string }[] }[] };
        return groups.flatMap(({ rules }) => rules.flatMap(({ alert }) => alert ?? []));
      };
      const all = alerts({});
      expect(alerts({ disabled: ["LowThroughput"] })).toEqual(all.filter((name) => name !== "LowThroughput"));
      expect(all).toContain("LowThroughput");
    });
  },
);

test("chart and kustomization have the version of the packages", () => {
  const { version } = JSON.parse(readFileSync(MANIFEST, "utf8")) as { version: string };
  expect(parse(readFileSync(join(BASE, "kustomization.yaml"), "utf8"))).toMatchObject({
    images: [{ newTag: version }],
  });
  expect(parse(readFileSync(join(CHART, "Chart.yaml"), "utf8"))).toMatchObject({
    version,
    appVersion: version,
  });
});
