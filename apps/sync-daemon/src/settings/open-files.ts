/**
 * The file descriptors of the process, for HTTP connections and DP ranks. libzmq ends the process when it runs out of them
 * in the wrong place. The daemon's own reader cannot reach an engine then. So ranks and connections are refused before.
 */

import { readFileSync } from "node:fs";

import type { Engine } from "../engine/engine-entry.ts";
import type { Settings } from "./settings.ts";

/**
 * Descriptors per rank. Counted between 16 and 128 engines (bench/engine-streams.bench.ts): 1 with the own reader, 4 with libzmq, which
 * has a socket, its monitor's pair and the connection. Own: one more, for a replay.
 */
const FILES_PER_RANK = { own: 2, libzmq: 4 } as const;
/** Left for replays under way (libzmq: 4 each) and the process itself. */
const FILES_RESERVED = 64;
/** HTTP connections that there is room for under any limit, and the share of a limit that they may take beyond. */
const CONNECTIONS_SURE = 256;
const CONNECTIONS_SHARE = 1 / 4;
/** Where the limit cannot be read (no /proc): macOS's default, which Node raises to. */
const FILES_ASSUMED = 10_240;

/**
 * Descriptors of an engine: CURVE is libzmq's alone.
 *
 * @param engine - its own key, and its ranks.
 * @param settings - who reads plain ZeroMQ, and whether the fleet has a key.
 * @returns how many to reckon with.
 */
export function filesOfEngine(
  { curveServerKey, ranks }: Pick<Engine, "curveServerKey" | "ranks">,
  { ingest, curve }: Pick<Settings, "ingest" | "curve">,
): number {
  const isPlain = curveServerKey === null && curve.server_key_file === null;
  return ranks.length * FILES_PER_RANK[isPlain ? ingest.transport : "libzmq"];
}

/** How many of each there may be. */
export interface FilePlan {
  /** HTTP connections. */
  readonly connections: number;
  /** Descriptors for engines; at least those of one rank. */
  readonly engineFiles: number;
}

/**
 * Divides the limit on open files.
 *
 * @param connectionsWanted - HTTP connections by the settings; there may be fewer under a low limit.
 * @param limits - text of /proc/self/limits; read from there unless given.
 * @returns the plan.
 */
export function filePlan(connectionsWanted: number, limits: string = readLimits()): FilePlan {
  const soft = /^Max open files\s+(\d+|unlimited)/m.exec(limits)?.[1];
  if (soft === "unlimited") return { connections: connectionsWanted, engineFiles: Number.POSITIVE_INFINITY };
  const files = soft === undefined ? FILES_ASSUMED : Number(soft);
  const room = Math.max(CONNECTIONS_SURE, Math.floor(files * CONNECTIONS_SHARE));
  const connections = Math.min(connectionsWanted, room);
  const engineFiles = Math.max(FILES_PER_RANK.libzmq, files - FILES_RESERVED - connections);
  return { connections, engineFiles };
}

function readLimits(): string {
  try {
    return readFileSync("/proc/self/limits", "utf8");
  } catch {
    return "";
  }
}
