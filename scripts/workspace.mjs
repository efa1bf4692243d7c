/**
 * Shared parts of `npm start` and `npm test`. They bring a supported Node (from npm where the
 * machine has an older one) and pnpm at the pinned version (from npx). Steps print one line each,
 * and their output only when they fail. A machine needs git and Node only.
 *
 * .cache/logs/ keeps the full output of every step, .cache/step-seconds.json how long each took last time.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createWriteStream, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { delimiter, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

export const ROOT = fileURLToPath(new URL("..", import.meta.url));
export const IN_CI = process.env.CI !== undefined && process.env.CI !== "" && process.env.CI !== "false";

const LOG_FOLDER = join(ROOT, ".cache", "logs");
const SECONDS_FILE = join(ROOT, ".cache", "step-seconds.json");
/** Lines of a failed step's output that are shown; the whole is in its log file. */
const FAILURE_LINES_SHOWN = 80;

const manifest = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8"));

/** Oldest Node that npm scripts of this file can start from: they bring a newer one themselves. */
const NODE_MAJOR_MIN = 18;
/** The Node that development and the container use. */
const NODE_MAJOR = readFileSync(join(ROOT, ".nvmrc"), "utf8").trim();

/** About how long npm takes to bring a Node, and after how long it is given up. */
const NODE_SECONDS = 30;
const NODE_MS_MAX = 300_000;
/** What the Node that was brought prints. */
const PATH_AND_VERSION = "process.execPath+'|'+process.versions.node";

/**
 * Returns on a supported Node. On an older one it runs the same script under the Node of `.nvmrc`, which npm's `node`
 * package brings, and ends with that run's exit code.
 */
export async function useSupportedNode() {
  const floor = manifest.engines.node.replace(">=", "");
  if (!isOlder(process.versions.node, floor)) return;
  const found = `This is Node ${process.version}; kvsync needs ${floor} or newer.`;
  if (isOlder(process.versions.node, `${NODE_MAJOR_MIN}.0`)) fail(`${found} Install Node ${NODE_MAJOR}.`);
  console.log(`${found} Continuing with Node ${NODE_MAJOR} from npm's "node" package.`);
  const node = await bringNode(NODE_MAJOR);
  const child = spawn(node, process.argv.slice(1), {
    stdio: "inherit",
    // Children that start "node" or "npx" get the same one.
    env: { ...process.env, PATH: [dirname(node), process.env.PATH].join(delimiter) },
  });
  forwardSignals(child);
  const [code, signal] = await once(child, "close");
  process.exit(code ?? (signal === "SIGINT" ? 130 : 1));
}

/**
 * Brings a Node from the npm registry, with its progress, in at most NODE_MS_MAX.
 *
 * @param version - a major or a full version.
 * @returns {Promise<string>} the path of its executable. Ends the process with one line when it cannot be had.
 */
export async function bringNode(version) {
  const stopShowing = showProgress(`bring Node ${version} from the npm registry`, NODE_SECONDS);
  const started = performance.now();
  // npm's "node" package unpacks its executable in an install script.
  const child = spawn(
    "npx",
    ["--yes", "--ignore-scripts=false", "--package", `node@${version}`, "node", "--print", PATH_AND_VERSION],
    { stdio: ["ignore", "pipe", "pipe"], shell: process.platform === "win32", timeout: NODE_MS_MAX },
  );
  const output = { stdout: "", stderr: "" };
  for (const name of ["stdout", "stderr"]) {
    child[name].setEncoding("utf8").on("data", (text) => {
      output[name] += text;
    });
  }
  const [code, signal] = await new Promise((resolve) => {
    child.on("error", (error) => {
      output.stderr += error.message;
      resolve([127, null]);
    });
    child.on("close", (...end) => resolve(end));
  });
  const [path, found = ""] = (output.stdout.trim().split("\n").at(-1) ?? "").split("|");
  const ok = code === 0 && `${found}.`.startsWith(`${version}.`);
  stopShowing(`${ok ? "ok" : "FAILED"}  ${((performance.now() - started) / 1000).toFixed(1)} s`);
  if (ok) return path;
  // Without the executable of the package, npx runs the old Node of this machine: the script would start itself without end.
  const reason =
    signal !== null
      ? `no answer in ${NODE_MS_MAX / 1000} s`
      : code === 0
        ? `npx ran Node ${found} instead`
        : (output.stderr.trim().split("\n").at(-1) ?? "");
  return fail(
    `Node ${version} cannot be brought from the npm registry (${reason}). Install it and try again.`,
  );
}

/** Passes the signals that end a process on to a child. */
export function forwardSignals(child) {
  for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => child.kill(signal));
}

function fail(message) {
  console.error(message);
  process.exit(1);
}

function isOlder(version, floor) {
  const [found, wanted] = [version, floor].map((text) => text.split(".").map(Number));
  return found[0] < wanted[0] || (found[0] === wanted[0] && found[1] < wanted[1]);
}

/** The command line that runs the pinned pnpm. */
export function pnpm(...args) {
  return ["npx", "--yes", manifest.packageManager, ...args];
}

/** Variables for every child: nothing phones home, nothing asks questions. */
export function childEnvironment() {
  return {
    ...process.env,
    TURBO_TELEMETRY_DISABLED: "1",
    TURBO_NO_UPDATE_NOTIFIER: "1",
    DO_NOT_TRACK: "1",
    npm_config_update_notifier: "false",
    COREPACK_ENABLE_DOWNLOAD_PROMPT: "0",
  };
}

/**
 * Runs one step quietly. A terminal shows the seconds while it runs, and how long it took last time.
 *
 * @param title - what a newcomer reads.
 * @param command - program and arguments.
 * @param options - `env`: more variables; `seconds`: about how long it takes on two cores where it never ran; `beside`: more commands,
 *   which run at the same time. The step is ok when each is.
 * @returns {Promise<{ok: boolean, seconds: number, output: string}>} whether it exited with 0, and all it printed.
 */
export async function step(title, command, options = {}) {
  mkdirSync(LOG_FOLDER, { recursive: true });
  const name = title.replace(/[^a-zA-Z0-9]+/g, "-").toLowerCase();
  const logPath = join(LOG_FOLDER, `${name}.log`);
  const log = createWriteStream(logPath);
  const started = performance.now();
  const stopShowing = showProgress(title, readStepSeconds()[name] ?? options.seconds);
  const chunks = [];
  const write = (chunk) => {
    chunks.push(chunk);
    log.write(chunk);
  };
  const commands = [command, ...(options.beside ?? [])];
  const codes = await Promise.all(commands.map((one) => run(one, options.env, write)));
  // A command that a signal ended has null.
  const [code = 0] = codes.filter((one) => one !== 0);
  log.end();
  const seconds = (performance.now() - started) / 1000;
  const output = Buffer.concat(chunks).toString("utf8");
  const ok = code === 0;
  stopShowing(`${ok ? "ok" : `FAILED (exit ${code})`}  ${seconds.toFixed(1)} s`);
  if (ok) writeFileSync(SECONDS_FILE, JSON.stringify({ ...readStepSeconds(), [name]: Math.ceil(seconds) }));
  else {
    const lines = output.trimEnd().split("\n");
    console.log(lines.slice(-FAILURE_LINES_SHOWN).join("\n"));
    console.log(`  full output: ${logPath}`);
  }
  return { ok, seconds, output };
}

/** Runs a command to its end. Resolves with its exit code: null when a signal ended it, 127 when it cannot be started. */
function run([program, ...args], env, write) {
  const child = spawn(program, args, {
    cwd: ROOT,
    env: { ...childEnvironment(), ...env },
    stdio: ["ignore", "pipe", "pipe"],
    shell: process.platform === "win32",
  });
  for (const stream of [child.stdout, child.stderr]) stream.on("data", write);
  return new Promise((resolve) => {
    child.on("error", (error) => {
      write(Buffer.from(`${program}: ${error.message}\n`));
      resolve(127);
    });
    child.on("close", resolve);
  });
}

/** Seconds of each step's last run; empty before the first. */
function readStepSeconds() {
  try {
    return JSON.parse(readFileSync(SECONDS_FILE, "utf8"));
  } catch {
    return {};
  }
}

/** Prints the title of a step, and on a terminal its seconds each second. The returned function ends the line. */
function showProgress(title, expectedSeconds) {
  const about = expectedSeconds === undefined ? "" : ` (about ${Math.ceil(expectedSeconds)} s)`;
  const head = `  ${title}${about} … `;
  process.stdout.write(head);
  if (!process.stdout.isTTY) return (result) => console.log(result);
  const started = performance.now();
  const timer = setInterval(() => {
    process.stdout.write(`\r${head}${((performance.now() - started) / 1000).toFixed(0)} s`);
  }, 1000);
  return (result) => {
    clearInterval(timer);
    process.stdout.write(`\r\u001b[K  ${title} … ${result}\n`);
  };
}

/** The command line that runs turbo tasks; only what fails is printed. */
export function turbo(...args) {
  return pnpm("turbo", ...args, "--output-logs=errors-only");
}

/** Installs and builds; ends the process when either fails. */
export async function installAndBuild() {
  const installed = await step("install the dependencies", pnpm("install", "--frozen-lockfile"), {
    seconds: 30,
  });
  if (!installed.ok) process.exit(1);
  const built = await step("build every package", turbo("build"), { seconds: 60 });
  if (!built.ok) process.exit(1);
}
