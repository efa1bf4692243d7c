/**
 * The cost of a start of the daemon, up to its listening HTTP port, against another build: CPU time and memory of the process.
 *
 *     node apps/sync-daemon/bench/start-cost.bench.ts MAIN [pairs=15]
 *
 * MAIN is the `dist/main.js` of the other build. The two start in turns, with their default settings and no engine. Each measures
 * itself: a module that is loaded before it waits for the first server that listens, writes its figures and ends the process.
 */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { argv, env, execPath } from "node:process";
import { fileURLToPath } from "node:url";

import { benchFigure } from "../../../packages/core/bench/bench-figure.ts";
import { machine } from "./picker-process.ts";

const OWN = fileURLToPath(new URL("../dist/main.js", import.meta.url));
const other = argv[2];
if (other === undefined) throw new Error("the first argument is the dist/main.js of another build");
const pairs = benchFigure("pairs", argv[3] ?? 15, 1, 10_000);

interface Start {
  readonly cpuMs: number;
  readonly mib: number;
}

const folder = mkdtempSync(join(tmpdir(), "kvsync-start-"));
const probe = join(folder, "probe.mjs");
const figures = join(folder, "figures.json");
writeFileSync(
  probe,
  `import { writeFileSync } from "node:fs";
import { Server } from "node:net";
import { isMainThread } from "node:worker_threads";
if (isMainThread) {
  const { emit } = Server.prototype;
  Server.prototype.emit = function (event, ...rest) {
    const isHeard = emit.call(this, event, ...rest);
    if (event === "listening") setImmediate(() => {
      const { user, system } = process.cpuUsage();
      const mib = process.memoryUsage.rss() / 2 ** 20;
      writeFileSync(${JSON.stringify(figures)}, JSON.stringify({ cpuMs: (user + system) / 1000, mib }));
      process.exit(0);
    });
    return isHeard;
  };
}
`,
);
const settings = join(folder, "kvsync.yaml");
writeFileSync(settings, "http: { port: 0 }\nsnapshot: { enabled: false }\n");
const clean = Object.fromEntries(Object.entries(env).filter(([name]) => !name.startsWith("KVSYNC_")));

function start(main: string): Start {
  const args = ["--import", probe, main, "--config", settings];
  execFileSync(execPath, args, { env: clean, stdio: "ignore" });
  return JSON.parse(readFileSync(figures, "utf8")) as Start;
}

function told(values: readonly number[], digits: number): string {
  const sorted = values.toSorted((a, b) => a - b);
  const text = (value = Number.NaN): string => value.toFixed(digits);
  return `${text(sorted[Math.floor(sorted.length / 2)])} (${text(sorted[0])}–${text(sorted.at(-1))})`;
}

try {
  // The first start of each compiles its code.
  for (const main of [OWN, other]) start(main);
  const runs = Array.from({ length: pairs }, () => ({ own: start(OWN), other: start(other) }));
  console.log(`${machine()}: ${pairs} pairs of starts, medians with the least and the greatest`);
  for (const name of ["own", "other"] as const)
    console.log(
      `  ${name}: ${told(
        runs.map((run) => run[name].cpuMs),
        0,
      )} ms of CPU, ${told(
        runs.map((run) => run[name].mib),
        1,
      )} MiB`,
    );
  const ratio = (of: (start: Start) => number): string =>
    told(
      runs.map((run) => of(run.own) / of(run.other)),
      3,
    );
  console.log(`  own / other by pair: CPU ${ratio(({ cpuMs }) => cpuMs)}, memory ${ratio(({ mib }) => mib)}`);
} finally {
  rmSync(folder, { recursive: true });
}
