/**
 * `npm run stack-check`: Jaeger and the OpenTelemetry collector, as their projects build them, with the files of infra/ behind a real
 * daemon. A person runs it before a release (docs/releasing.md); it is no part of `npm test`.
 *
 *     npm run stack-check                                          builds what .cache/stack-check does not have; Jaeger takes minutes
 *     npm run stack-check -- --jaeger FILE --collector FILE        runs binaries that you have
 *
 * It needs Go and its module proxy, or the two binaries. A program that is not there and cannot be built is skipped with its claims, by
 * name. The claims are apps/sync-daemon/test/monitoring.stack.ts.
 *
 * Exit codes: 0 each claim that ran holds, and one did; 1 otherwise; 2 unusable arguments.
 */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { copyFileSync, existsSync, mkdirSync, readFileSync, rmSync } from "node:fs";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";

import { ROOT, installAndBuild, step, useSupportedNode } from "./workspace.mjs";

const FOLDER = join(ROOT, ".cache", "stack-check");
const RESULTS = join(FOLDER, "results.json");
const DAEMON = join(ROOT, "apps", "sync-daemon");

const COLLECTOR_CORE = "go.opentelemetry.io/collector";
const COLLECTOR_CONTRIB = "github.com/open-telemetry/opentelemetry-collector-contrib";

/**
 * Programs, each with the modules that pin it. Go's proxy has no version 2 of Jaeger's module: 1.76.0 has the command that is
 * released as 2.13.0. The tail sampling is older than the rest because a module that newer ones need is not published.
 */
const PROGRAMS = {
  jaeger: {
    version: "2.13.0",
    seconds: 700,
    modules: ["-tool", "github.com/jaegertracing/jaeger/cmd/jaeger@v1.76.0"],
    package: "github.com/jaegertracing/jaeger/cmd/jaeger",
  },
  collector: {
    version: "0.165.1",
    seconds: 200,
    source: join(ROOT, "infra", "otel", "check", "main.go"),
    modules: [
      `${COLLECTOR_CORE}/otelcol@v0.165.0`,
      `${COLLECTOR_CORE}/confmap/provider/envprovider@v1.71.0`,
      `${COLLECTOR_CORE}/confmap/provider/fileprovider@v1.71.0`,
      `${COLLECTOR_CORE}/receiver/otlpreceiver@v0.165.0`,
      `${COLLECTOR_CORE}/processor/batchprocessor@v0.165.0`,
      `${COLLECTOR_CORE}/processor/memorylimiterprocessor@v0.165.0`,
      `${COLLECTOR_CORE}/exporter/otlphttpexporter@v0.165.0`,
      `${COLLECTOR_CONTRIB}/extension/healthcheckextension@v0.165.1`,
      `${COLLECTOR_CONTRIB}/extension/storage/filestorage@v0.165.1`,
      `${COLLECTOR_CONTRIB}/receiver/filelogreceiver@v0.165.1`,
      `${COLLECTOR_CONTRIB}/processor/tailsamplingprocessor@v0.161.0`,
    ],
    package: ".",
  },
};

/** What this check cannot run, whatever the machine has. */
const NOT_RUN = [
  "Loki: a stand-in receives its OTLP requests; its own configuration is read by no program here",
  "Grafana: data sources and dashboards are checked as data by npm test, and rendered by no program here",
  "containers and pods: Docker and a cluster are needed",
];

function usage(reason) {
  console.error(`${reason}\nusage: npm run stack-check -- [--jaeger FILE] [--collector FILE]`);
  process.exit(2);
}

function readArguments() {
  try {
    const { values } = parseArgs({ options: { jaeger: { type: "string" }, collector: { type: "string" } } });
    for (const [name, path] of Object.entries(values))
      if (!existsSync(path)) usage(`--${name}: ${path} does not exist`);
    return values;
  } catch (error) {
    return usage(error.message);
  }
}

/** Go's version, such as `go1.26.8`; null without Go. */
function goVersion() {
  const { status, stdout } = spawnSync("go", ["env", "GOVERSION"], { encoding: "utf8" });
  return status === 0 ? stdout.trim() : null;
}

/** Builds a program in a module of its own. Returns whether it is there. */
async function build(name, binary) {
  const { modules, seconds, source, package: main } = PROGRAMS[name];
  const module = join(FOLDER, `${name}-module`);
  rmSync(module, { recursive: true, force: true });
  mkdirSync(module, { recursive: true });
  if (source !== undefined) copyFileSync(source, join(module, "main.go"));
  const go = (...args) => ["go", "-C", module, ...args];
  // A workspace or flags of this machine's Go would choose other versions.
  const env = { GOWORK: "off", GOFLAGS: "-buildvcs=false -mod=mod" };
  const steps = [
    [`begin a module for ${name}`, go("mod", "init", `kvsync-check/${name}`), 1],
    [`fetch the modules of ${name}`, go("get", ...modules), 60],
    [`build ${name}`, go("build", "-o", binary, main), seconds],
  ];
  for (const [title, command, about] of steps)
    if (!(await step(title, command, { seconds: about, env })).ok) return false;
  return true;
}

/** The path of a program's binary, or why there is none. */
async function bring(name, given, go) {
  if (given !== undefined) return { path: resolve(given), from: given };
  const { version, modules, source } = PROGRAMS[name];
  const parts = [...modules, source === undefined ? "" : readFileSync(source, "utf8")];
  const digest = createHash("sha256").update(parts.join("\n")).digest("hex").slice(0, 8);
  const binary = join(FOLDER, `${name}-${version}-${digest}`);
  if (existsSync(binary)) return { path: binary, from: `.cache/stack-check, built before` };
  if (go === null) return { skipped: `needs the program go, or --${name} FILE` };
  if (await build(name, binary)) return { path: binary, from: `built with ${go}` };
  return { skipped: "Go could not build it; the output is above" };
}

const given = readArguments();
await useSupportedNode();
mkdirSync(FOLDER, { recursive: true });
console.log("kvsync: the monitoring stack's programs with the files of infra/\n");
const go = goVersion();
const programs = {};
for (const name of Object.keys(PROGRAMS)) programs[name] = await bring(name, given[name], go);
await installAndBuild();

rmSync(RESULTS, { force: true });
const env = Object.fromEntries(
  Object.entries(programs).map(([name, { path = "" }]) => [`KVSYNC_${name.toUpperCase()}`, path]),
);
const run = await step(
  "run the claims",
  ["npx", "vitest", "run", "--root", DAEMON, "--config", join(ROOT, "vitest.stack.config.ts")],
  { seconds: 90, env },
);

console.log(`\n${new Date().toISOString().slice(0, 10)}`);
for (const [name, { path, from, skipped }] of Object.entries(programs))
  console.log(
    `  ${name.padEnd(10)} ${PROGRAMS[name].version}, ${path === undefined ? `skipped: ${skipped}` : from}`,
  );

const files = existsSync(RESULTS) ? JSON.parse(readFileSync(RESULTS, "utf8")).testResults : [];
const claims = files.flatMap(({ assertionResults }) => assertionResults);
const WORDS = { passed: "ok", failed: "FAILED" };
console.log("\n  result    seconds  claim");
for (const { status, duration = 0, ancestorTitles, title } of claims)
  console.log(
    `  ${(WORDS[status] ?? "skipped").padEnd(8)} ${(duration / 1000).toFixed(1).padStart(8)}  ${[...ancestorTitles, title].join(": ")}`,
  );
for (const what of NOT_RUN) console.log(`  not run             ${what}`);

const count = (...statuses) => claims.filter(({ status }) => statuses.includes(status)).length;
const [passed, failed] = [count("passed"), count("failed")];
console.log(`\n${passed} passed, ${failed} failed, ${claims.length - passed - failed} skipped`);
// A start that failed leaves its claims skipped, and the run failed.
process.exitCode = run.ok && passed > 0 ? 0 : 1;
