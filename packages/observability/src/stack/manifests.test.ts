/**
 * Every object for Kubernetes that this repository ships, as a typed literal of the API's own models. The compiler finds misspelt and
 * unknown fields, wrong types and unknown values. A cluster drops an unknown field with a warning, and a program runs without what it asked for.
 *
 *     kustomize (each component and preset) ─┐
 *     Helm (each file of ci/) ───────────────┴─▶ documents ─▶ const a: IDeployment = {…} ─▶ TypeScript ─▶ no diagnostics
 *
 * Not checked here: objects of the Gateway API and of Istio, for which no models are published.
 *
 * Source: the npm packages kubernetes-models and @kubernetes-models/prometheus-operator.
 */
import { spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import type { IDeployment } from "kubernetes-models/apps/v1/Deployment";
import ts from "typescript";
import { describe, expect, test } from "vitest";
import { parseAllDocuments } from "yaml";

const INFRA = fileURLToPath(new URL("../../../../infra/", import.meta.url));
const CHART = join(INFRA, "helm", "kvsync");
const OUTPUT_BYTES_MAX = 64 * 1024 * 1024;
const HAS_PROGRAMS = ["kubectl", "helm"].every(
  (program) => spawnSync(program, ["version", "--client"]).error === undefined,
);
/** Groups of the API without published models. */
const WITHOUT_MODELS = /^(?:inference\.networking\.k8s\.io|networking\.istio\.io)\//;

interface Manifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string };
}

/** The module that has the model of a kind. */
function moduleOf({ apiVersion, kind }: Manifest): string {
  const models = apiVersion.startsWith("monitoring.coreos.com/")
    ? "@kubernetes-models/prometheus-operator"
    : "kubernetes-models";
  return `${models}/${apiVersion}/${kind}`;
}

/** What the compiler says of objects as literals of their models, each with the name of its object. */
function faultsOf(manifests: readonly Manifest[]): readonly string[] {
  const lines: string[] = [];
  const owners: { readonly from: number; readonly name: string }[] = [];
  for (const [index, manifest] of manifests.entries()) {
    owners.push({ from: lines.length, name: `${manifest.kind} ${manifest.metadata.name}` });
    lines.push(`import type { I${manifest.kind} as I${index} } from "${moduleOf(manifest)}";`);
    lines.push(...`export const a${index}: I${index} = ${JSON.stringify(manifest, null, 1)};`.split("\n"));
  }
  const name = fileURLToPath(new URL("manifests.literals.ts", import.meta.url));
  const options: ts.CompilerOptions = {
    strict: true,
    noEmit: true,
    skipLibCheck: true,
    types: [],
    module: ts.ModuleKind.ESNext,
    moduleResolution: ts.ModuleResolutionKind.Bundler,
  };
  const host = ts.createCompilerHost(options);
  const read = host.getSourceFile.bind(host);
  host.getSourceFile = (path, ...rest) =>
    path === name ? ts.createSourceFile(name, lines.join("\n"), ts.ScriptTarget.Latest) : read(path, ...rest);
  const program = ts.createProgram([name], options, host);
  return ts.getPreEmitDiagnostics(program).map(({ file, start = 0, messageText }) => {
    const line = file?.getLineAndCharacterOfPosition(start).line ?? 0;
    const owner = owners.findLast(({ from }) => from <= line)?.name ?? "";
    return `${owner}: ${ts.flattenDiagnosticMessageText(messageText, " ")}`;
  });
}

function run(program: string, args: readonly string[]): readonly Manifest[] {
  const { status, stdout, stderr } = spawnSync(program, args, {
    encoding: "utf8",
    maxBuffer: OUTPUT_BYTES_MAX,
  });
  expect([status, stderr]).toEqual([0, ""]);
  return parseAllDocuments(stdout)
    .map((document) => document.toJS() as Manifest | null)
    .filter((document) => document !== null);
}

/** The base with each component, and the stack without an operator. */
function kustomized(): readonly Manifest[] {
  const scratch = mkdtempSync(join(tmpdir(), "kvsync-manifests-"));
  try {
    cpSync(join(INFRA, "kubernetes"), scratch, { recursive: true });
    const base = readFileSync(join(scratch, "kustomization.yaml"), "utf8");
    const folders = readdirSync(scratch, { recursive: true, withFileTypes: true })
      .filter(({ name, parentPath }) => name === "kustomization.yaml" && parentPath !== scratch)
      .map(({ parentPath }) => parentPath);
    const components = folders.filter((folder) =>
      readFileSync(join(folder, "kustomization.yaml"), "utf8").includes("kind: Component"),
    );
    expect(components.length).toBeGreaterThan(7);
    const others = folders.filter((folder) => !components.includes(folder));
    return [
      ...components.flatMap((folder) => {
        writeFileSync(
          join(scratch, "kustomization.yaml"),
          `${base}\ncomponents: [${folder.slice(scratch.length + 1)}]\n`,
        );
        return run("kubectl", ["kustomize", scratch]);
      }),
      ...others.flatMap((folder) => run("kubectl", ["kustomize", folder])),
    ];
  } finally {
    rmSync(scratch, { recursive: true });
  }
}

function charted(): readonly Manifest[] {
  return readdirSync(join(CHART, "ci")).flatMap((values) =>
    run("helm", ["template", "kvsync", CHART, "--values", join(CHART, "ci", values)]),
  );
}

/** Each object once: the components repeat the base. */
function different(manifests: readonly Manifest[]): readonly Manifest[] {
  return [...new Map(manifests.map((manifest) => [JSON.stringify(manifest), manifest])).values()];
}

describe.skipIf(!HAS_PROGRAMS && process.env["CI"] === undefined)(
  "objects for Kubernetes, as kubectl and Helm make them (npm: helm and kubectl)",
  () => {
    test("are literals of the API's models: each field is known and has its type", () => {
      const all = different([...kustomized(), ...charted()]);
      const checked = all.filter(({ apiVersion }) => !WITHOUT_MODELS.test(apiVersion));
      const kinds = new Set(checked.map(({ kind }) => kind));
      for (const kind of ["Deployment", "StatefulSet", "DaemonSet", "NetworkPolicy", "ServiceMonitor"])
        expect(kinds).toContain(kind);
      expect(kinds).toContain("PrometheusRule");
      expect(faultsOf(checked)).toEqual([]);
    });
  },
);

const POD_SPEC = {
  containers: [{ name: "a", image: "b", readinessProbe: { httpGet: { path: "/", port: "http" } } }],
};
const DEPLOYMENT = {
  apiVersion: "apps/v1",
  kind: "Deployment",
  metadata: { name: "planted" },
  spec: {
    selector: { matchLabels: { a: "b" } },
    template: { metadata: { labels: { a: "b" } }, spec: POD_SPEC },
  },
} satisfies IDeployment;
const MONITOR = {
  apiVersion: "monitoring.coreos.com/v1",
  kind: "ServiceMonitor",
  metadata: { name: "planted" },
  spec: { selector: {}, endpoints: [{ port: "http", interval: "15s" }] },
};

test("objects without a mistake have no fault", () => {
  expect(faultsOf([DEPLOYMENT, MONITOR])).toEqual([]);
});

test.each([
  ["a misspelt field", "Deployment planted", "readinesProbe", { readinesProbe: { httpGet: { port: 1 } } }],
  ["a wrong type", "Deployment planted", "boolean", { securityContext: { privileged: "no" } }],
  ["a value that is none", "Deployment planted", "Sometimes", { imagePullPolicy: "Sometimes" }],
])("%s of a container is found", (_, owner, said, wrong) => {
  const containers = [{ ...POD_SPEC.containers[0], ...wrong }];
  const template = { ...DEPLOYMENT.spec.template, spec: { containers } };
  const [fault = ""] = faultsOf([
    MONITOR,
    { ...DEPLOYMENT, spec: { ...DEPLOYMENT.spec, template } } as Manifest,
  ]);
  expect(fault).toContain(owner);
  expect(fault).toContain(said);
});

test("a field that the operator does not know is found", () => {
  const endpoints = [{ port: "http", relabelConfigs: [] }];
  const [fault = ""] = faultsOf([{ ...MONITOR, spec: { selector: {}, endpoints } } as Manifest]);
  expect(fault).toMatch(/^ServiceMonitor planted: .*relabelConfigs/);
});
