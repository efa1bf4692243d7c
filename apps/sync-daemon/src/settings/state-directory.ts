/**
 * The folder for snapshots when the settings name none, by the platform's convention:
 *
 *   $STATE_DIRECTORY                         systemd, with StateDirectory= in the unit
 *   $XDG_STATE_HOME/kvsync                   set in the container image, whose volume is /var/lib/kvsync
 *   ~/.local/state/kvsync                    elsewhere
 *   ~/Library/Application Support/kvsync     macOS
 *   %LOCALAPPDATA%\kvsync                    Windows
 *
 * Below it each address and port has a folder, so that two daemons of one machine do not share one. A daemon whose port is not fixed (0) has none: its
 * successor could not find it.
 */

import { accessSync, constants, existsSync, rmSync, statSync, writeFileSync } from "node:fs";
import { dirname, isAbsolute, join, resolve } from "node:path";

import { makeFolder } from "../folder.ts";

/** Environment variables by name. */
type Environment = Readonly<Record<string, string | undefined>>;

/**
 * Finds the folder.
 *
 * @param environment - usually `process.env`.
 * @param http - where the daemon listens.
 * @param platform - usually `process.platform`.
 * @returns null when the port is not fixed, or the environment names no home.
 */
export function defaultSnapshotFolder(
  environment: Environment,
  { host, port }: { readonly host: string; readonly port: number },
  platform: NodeJS.Platform = process.platform,
): string | null {
  const base = port === 0 ? null : stateFolder(environment, platform);
  return base === null ? null : join(base, `${host.replaceAll(/[^\w.-]/g, "_")}-${port}`);
}

function stateFolder(environment: Environment, platform: NodeJS.Platform): string | null {
  const [ofUnit = ""] = (environment["STATE_DIRECTORY"] ?? "").split(":");
  if (isAbsolute(ofUnit)) return ofUnit;
  const xdg = environment["XDG_STATE_HOME"] ?? "";
  if (isAbsolute(xdg)) return join(xdg, "kvsync");
  if (platform === "win32") return below(environment["LOCALAPPDATA"]);
  const home = environment["HOME"];
  return below(home, ...(platform === "darwin" ? ["Library", "Application Support"] : [".local", "state"]));
}

function below(base: string | undefined, ...path: readonly string[]): string | null {
  return base === undefined || !isAbsolute(base) ? null : join(base, ...path, "kvsync");
}

/**
 * Makes a folder for this user alone, and checks that files can be made in it.
 *
 * @param path - absolute or not.
 * @returns why it cannot be used; null when it can.
 */
export function whyNoFolder(path: string): string | null {
  try {
    makeFolder(path);
    accessSync(path, constants.W_OK | constants.X_OK);
    return null;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

/**
 * Finds out whether files can be made in a folder, without leaving a trace: a folder that is not
 * there is not made.
 *
 * @param path - absolute or not.
 * @returns why not; null when they can.
 */
export function whyNotWritable(path: string): string | null {
  let folder = resolve(path);
  while (!existsSync(folder) && dirname(folder) !== folder) folder = dirname(folder);
  const isThere = folder === resolve(path);
  const subject = isThere ? "it" : `it does not exist, and ${folder}, where it would be made,`;
  try {
    if (!statSync(folder).isDirectory()) return `${subject} is not a folder`;
    accessSync(folder, constants.W_OK | constants.X_OK);
    // A file system can refuse what the rights allow: it is full, or read-only.
    const probe = join(folder, `.kvsync-check-${process.pid}`);
    writeFileSync(probe, "");
    rmSync(probe);
    return null;
  } catch (error) {
    return `${subject} cannot be written by this user (${codeOf(error)})`;
  }
}

function codeOf(error: unknown): string {
  return error instanceof Error && "code" in error ? String(error.code) : String(error);
}
