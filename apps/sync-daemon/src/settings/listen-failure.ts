/**
 * Reports why an address cannot be listened at, in the words of the settings. The system's error has
 * a code and an address, and a person needs the setting and what to do.
 */

import type { Settings } from "./settings.ts";

/** Codes that mean the host, and not the port. */
const OF_HOST = new Set(["EADDRNOTAVAIL", "ENOTFOUND", "EAI_AGAIN"]);
/** The message of node:net, also where the error came from another thread. */
const LISTEN_MESSAGE = /^(?:listen|getaddrinfo|bind) ([A-Z_]+)\b.*?(?: (\S+?):(\d+))?$/;

/** An address that a setting names. */
export interface ListenAddress {
  /** The setting of its port. */
  readonly setting: string;
  readonly host: string;
  readonly port: number;
}

/** What is wrong with it. */
interface ListenFailure {
  readonly setting: string;
  readonly address: string;
  readonly what: string;
  readonly remedy: string;
}

/**
 * Tells why an address cannot be listened at.
 *
 * @param address - of the settings.
 * @param code - of the system's error.
 * @returns the setting to blame, and what to do.
 */
export function listenFailure({ setting, host, port }: ListenAddress, code: string): ListenFailure {
  const address = `${host.includes(":") ? `[${host}]` : host}:${port}`;
  if (code === "EADDRINUSE") {
    const remedy = "end the program that listens there, or set another port";
    return { setting, address, what: "is taken", remedy };
  }
  const what = `cannot be listened at (${code})`;
  if (OF_HOST.has(code)) {
    const named = setting.replace(/^(http|picker)\.(health_)?port$/, "$1.host");
    return { setting: named, address, what, remedy: "expected an address of this machine" };
  }
  return { setting, address, what, remedy: "expected a port that this user may listen at" };
}

/**
 * The addresses that a daemon listens at, those of engines that connect aside.
 *
 * @param settings - any.
 * @returns at least that of HTTP. A port of 0 is a free one.
 */
export function listenAddresses({ http, picker }: Pick<Settings, "http" | "picker">): ListenAddress[] {
  const host = http.host === "localhost" ? "127.0.0.1" : http.host;
  const all = [{ setting: "http.port", host, port: http.port }];
  for (const name of ["port", "health_port"] as const)
    if (picker.enabled === true && picker[name] !== 0)
      all.push({ setting: `picker.${name}`, host: picker.host, port: picker[name] });
  return all;
}

/**
 * An error of the system about an address of the settings, as a person can use it.
 *
 * @param error - whatever kept the daemon from starting.
 * @param settings - of the daemon.
 * @returns an error with the setting, the address and the remedy, without a stack; any other error as it is.
 */
export function toldListening(error: unknown, settings: Settings): unknown {
  if (!(error instanceof Error)) return error;
  const [, code, , port] = LISTEN_MESSAGE.exec(error.message) ?? [];
  const addresses = listenAddresses(settings);
  const meant = port === undefined ? addresses[0] : addresses.find((one) => one.port === Number(port));
  if (code === undefined || meant === undefined) return error;
  const { setting, address, what, remedy } = listenFailure(meant, code);
  const why = what.includes(code) ? what : `${what} (${code})`;
  const told = Object.assign(new Error(`${setting}: ${address} ${why}; ${remedy}`), { code });
  told.stack = "";
  return told;
}
