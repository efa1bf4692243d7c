/**
 * The keys with which engines are spoken to over ZeroMQ's CURVE: theirs, which is one for the fleet, and our own pair.
 *
 * Read once: sockets take them when they are made, in the ingest threads. New keys need a restart.
 */

import { readFileSync } from "node:fs";

import * as zmq from "zeromq";

import { settingsError, type SettingsError } from "../settings/settings-error.ts";
import type { CurveSettings } from "../settings/security-settings.ts";

/** 32 bytes in Z85 (ZeroMQ RFC 32). */
const KEY = /^[\w.:+=^!/*?&<>()[\]{}@%$#-]{40}$/;
const KEY_EXPECTED = "a CURVE key of 40 characters (Z85)";
const PAIR_EXPECTED = "two CURVE keys of 40 characters (Z85), a line each: public, secret";

/** Keys of one side that dials, in Z85. */
export interface CurveKeys {
  /** The engines' public key. */
  readonly serverKey: string;
  /** Our own. */
  readonly publicKey: string;
  readonly secretKey: string;
}

/**
 * Reads the keys.
 *
 * @param settings - where they lie.
 * @returns null when engines are spoken to without CURVE; without a file of our own keys, fresh ones.
 * @throws SettingsError for a file that cannot be read or holds something else, and where the library has no CURVE.
 */
export function readCurveKeys({ server_key_file, client_key_file }: CurveSettings): CurveKeys | null {
  if (server_key_file === null) return null;
  if (zmq.capability.curve !== true)
    throw unusable("curve.server_key_file", server_key_file, "a libzmq that was built with CURVE");
  const serverKey = serverKeyIn(server_key_file);
  if (client_key_file === null) return { serverKey, ...zmq.curveKeyPair() };
  return { serverKey, ...clientKeysIn(client_key_file) };
}

/**
 * Reads the engines' key.
 *
 * @param path - of the file (curve.server_key_file).
 * @returns the public key.
 * @throws SettingsError for a file that cannot be read or holds something else.
 */
export function serverKeyIn(path: string): string {
  const [serverKey = "", ...more] = keysIn("curve.server_key_file", path);
  if (!KEY.test(serverKey) || more.length > 0) throw unusable("curve.server_key_file", path, KEY_EXPECTED);
  return serverKey;
}

/**
 * Reads our own keys.
 *
 * @param path - of the file (curve.client_key_file).
 * @returns both keys.
 * @throws SettingsError for a file that cannot be read or holds something else.
 */
export function clientKeysIn(path: string): Pick<CurveKeys, "publicKey" | "secretKey"> {
  const [publicKey = "", secretKey = "", ...others] = keysIn("curve.client_key_file", path);
  if (!KEY.test(publicKey) || !KEY.test(secretKey) || others.length > 0)
    throw unusable("curve.client_key_file", path, PAIR_EXPECTED);
  return { publicKey, secretKey };
}

function keysIn(setting: string, path: string): string[] {
  try {
    return readFileSync(path, "utf8")
      .split("\n")
      .map((line) => line.trim())
      .filter((line) => line !== "");
  } catch (error) {
    throw unusable(
      setting,
      path,
      `a file that can be read (${error instanceof Error ? error.message : String(error)})`,
    );
  }
}

/** What stands in the file is not shown: it may be a secret key in the wrong place. */
function unusable(setting: string, path: string, expected: string): SettingsError {
  return settingsError([
    {
      fault: { code: "unusable_setting", setting, source: path, expected },
      line: `${setting}: ${path} is not usable; expected ${expected}`,
    },
  ]);
}
