/** `kvsync curve-keys`: a pair of keys for ZeroMQ's CURVE, in the files that `curve.server_key_file` and `curve.client_key_file` take. */

import { writeFileSync } from "node:fs";

import { curveKeyPair } from "zeromq";

import type { Terminal } from "./terminal.ts";
import { whyUnreadable } from "../settings/unreadable-file.ts";
import { ToolError } from "./tool-error.ts";

/**
 * Makes a pair and writes it.
 *
 * @param name - path of the files, without `.pub` and `.key`.
 * @param terminal - is told which files there are now, and never a key.
 * @throws ToolError unwritable_file, also for files that are there: keys in use are not replaced by mistake.
 */
export function makeCurveKeys(name: string, terminal: Terminal): void {
  const { publicKey, secretKey } = curveKeyPair();
  for (const [path, text, mode] of [
    [`${name}.key`, `${publicKey}\n${secretKey}\n`, 0o600],
    [`${name}.pub`, `${publicKey}\n`, 0o644],
  ] as const) {
    try {
      writeFileSync(path, text, { mode, flag: "wx" });
    } catch (error) {
      throw new ToolError({ code: "unwritable_file", path }, `${path}: ${whyUnwritable(error, path)}`, {
        cause: error,
      });
    }
    terminal.line(path);
  }
}

function whyUnwritable(error: unknown, path: string): string {
  const code = error instanceof Error && "code" in error ? error.code : null;
  if (code === "EEXIST") return "it is there already; keys in use are not replaced";
  if (code === "ENOENT") return "its folder does not exist";
  if (code === "EACCES" || code === "EPERM") return `this user may not write there (${code})`;
  return whyUnreadable(error, path);
}
