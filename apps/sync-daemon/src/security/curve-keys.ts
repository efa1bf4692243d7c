/**
 * The keys with which engines are spoken to over ZeroMQ's CURVE: theirs, and our own pair. The file of the settings has one
 * for the fleet; an engine's entry or pod may have its own (engine-entry.ts), which goes before.
 *
 * Read once: sockets take them when they are made, in the ingest threads. New keys need a restart.
 */

import * as zmq from "zeromq";

import { CURVE_KEY_EXPECTED, isCurveKey } from "../engine/curve-key.ts";
import { settingsError, type SettingsError } from "../settings/settings-error.ts";
import type { CurveSettings } from "../settings/security-settings.ts";
import { whyUnreadable } from "../settings/unreadable-file.ts";
import { readBounded } from "./watched-files.ts";

const PAIR_EXPECTED = "two CURVE keys of 40 characters (Z85), a line each: public, secret";

/** Our own keys, in Z85. */
export interface KeyPair {
  readonly publicKey: string;
  readonly secretKey: string;
}

/** Keys of one side that dials, in Z85. */
export interface CurveKeys extends KeyPair {
  /** The engine's public key. */
  readonly serverKey: string;
}

/** What engines are dialled with. */
export interface DialKeys {
  /** Of engines without a key of their own; null to speak plain ZeroMQ to these. */
  readonly fleetKey: string | null;
  readonly pair: KeyPair;
}

/** A library without CURVE makes no pair, and then no socket with keys either (`no_socket`). */
const NO_PAIR: KeyPair = { publicKey: "", secretKey: "" };

/**
 * Reads the keys.
 *
 * @param settings - where they lie.
 * @returns without a file of our own keys, fresh ones.
 * @throws SettingsError for a file that cannot be read or holds something else, and where the library has no CURVE.
 */
export function readDialKeys({ server_key_file, client_key_file }: CurveSettings): DialKeys {
  const hasCurve = zmq.capability.curve === true;
  if (server_key_file !== null && !hasCurve)
    throw unusable("curve.server_key_file", server_key_file, "a libzmq that was built with CURVE");
  const fleetKey = server_key_file === null ? null : serverKeyIn(server_key_file);
  if (client_key_file !== null) return { fleetKey, pair: clientKeysIn(client_key_file) };
  return { fleetKey, pair: hasCurve ? zmq.curveKeyPair() : NO_PAIR };
}

/**
 * The keys to dial one engine with.
 *
 * @param keys - of the settings.
 * @param serverKey - the engine's own public key; null for none.
 * @returns null to speak plain ZeroMQ.
 */
export function curveKeysFor({ fleetKey, pair }: DialKeys, serverKey: string | null): CurveKeys | null {
  const key = serverKey ?? fleetKey;
  return key === null ? null : { serverKey: key, ...pair };
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
  if (!isCurveKey(serverKey) || more.length > 0)
    throw unusable("curve.server_key_file", path, CURVE_KEY_EXPECTED);
  return serverKey;
}

/**
 * Reads our own keys.
 *
 * @param path - of the file (curve.client_key_file).
 * @returns both keys.
 * @throws SettingsError for a file that cannot be read or holds something else.
 */
export function clientKeysIn(path: string): KeyPair {
  const [publicKey = "", secretKey = "", ...others] = keysIn("curve.client_key_file", path);
  if (!isCurveKey(publicKey) || !isCurveKey(secretKey) || others.length > 0)
    throw unusable("curve.client_key_file", path, PAIR_EXPECTED);
  return { publicKey, secretKey };
}

function keysIn(setting: string, path: string): string[] {
  try {
    return readBounded(path)
      .toString("utf8")
      .split("\n")
      .map((line) => line.trim())
      .filter((line) => line !== "");
  } catch (error) {
    throw unusable(setting, path, `a file that can be read: ${whyUnreadable(error, path)}`);
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
