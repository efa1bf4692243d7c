/**
 * What `npm start` and `npm test` share: the check of the Node version, pnpm at the pinned version (brought by npx, so that a
 * machine needs only git and Node), and steps that print one line each and their output only when they fail.
 *
 * Full output of every step is kept in .cache/logs/.
 */
import { spawn } from "node:child_process";
import { createWriteStream, mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

export const ROOT = fileURLToPath(new URL("..", import.meta.url));
export const IN_CI = process.env.CI !== undefined && process.env.CI !== "" && process.env.CI !== "false";

const LOG_FOLDER = join(ROOT, ".cache", "logs");
/** Lines of a failed step's output that are shown; the whole is in its log file. */
const FAILURE_LINES_SHOWN = 80;

const manifest = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8"));

/** Ends the process with one clear line when Node is older than package.json's engines field asks. */
export function requireNode() {
  const wanted = manifest.engines.node.replace(">=", "").split(".").map(Number);
  const found = process.versions.node.split(".").map(Number);
  const older = found[0] < wanted[0] || (found[0] === wanted[0] && found[1] < wanted[1]);
  if (!older) return;
  console.error(
    `kvsync needs Node ${wanted.join(".")} or newer; this is ${process.version} (${process.execPath}).`,
  );
  process.exit(1);
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
 * Runs one step quietly.
 *
 * @param title - what a newcomer reads.
 * @param command - program and arguments.
 * @returns {Promise<{ok: boolean, seconds: number, output: string}>} whether it exited with 0, and all it printed.
 */
export async function step(title, command, options = {}) {
  mkdirSync(LOG_FOLDER, { recursive: true });
  const logPath = join(LOG_FOLDER, `${title.replace(/[^a-zA-Z0-9]+/g, "-").toLowerCase()}.log`);
  const log = createWriteStream(logPath);
  const started = performance.now();
  process.stdout.write(`  ${title} … `);
  const [program, ...args] = command;
  const child = spawn(program, args, {
    cwd: ROOT,
    env: { ...childEnvironment(), ...options.env },
    stdio: ["ignore", "pipe", "pipe"],
    shell: process.platform === "win32",
  });
  const chunks = [];
  for (const stream of [child.stdout, child.stderr]) {
    stream.on("data", (chunk) => {
      chunks.push(chunk);
      log.write(chunk);
    });
  }
  const code = await new Promise((resolve) => {
    child.on("error", (error) => {
      chunks.push(Buffer.from(`${program}: ${error.message}\n`));
      resolve(127);
    });
    child.on("close", resolve);
  });
  log.end();
  const seconds = (performance.now() - started) / 1000;
  const output = Buffer.concat(chunks).toString("utf8");
  const ok = code === 0;
  console.log(`${ok ? "ok" : `FAILED (exit ${code})`}  ${seconds.toFixed(1)} s`);
  if (!ok) {
    const lines = output.trimEnd().split("\n");
    console.log(lines.slice(-FAILURE_LINES_SHOWN).join("\n"));
    console.log(`  full output: ${logPath}`);
  }
  return { ok, seconds, output };
}

/** Installs and builds; ends the process when either fails. */
export async function installAndBuild() {
  const installed = await step("install the dependencies", pnpm("install", "--frozen-lockfile"));
  if (!installed.ok) process.exit(1);
  const built = await step("build every package", pnpm("turbo", "build", "--output-logs=errors-only"));
  if (!built.ok) process.exit(1);
}
