/**
 * Rules between settings that exclude each other: each can be used by itself, and together they
 * cannot.
 *
 *  K1  A longest wait is not shorter than the first one.
 *  K2  No two of the daemon's ports are one.
 *  K3  Namespaces are named or selected by label, not both.
 *  K4  The index of a shard is below the number of shards.
 *  K5  A seed comes from a file only where it is secret.
 *  K6  A shard that may take snapshots has a seed that other shards have, too. Rows of another seed
 *      mean nothing, and a change of shard.count would begin cold.
 *  K7  The picker of a shard has the addresses of all shards, each of one shard only. It waits for them within the
 *      time of a decision.
 *  K8  Each ingest worker's part of the index fits in one memory.
 */

import { ingestWorkers } from "./ingest-workers.ts";

/** One WebAssembly memory holds at most 4 GiB, scratch and readers' buffers included. */
export const PART_BYTES_MAX: number = 3 * 1024 ** 3;

/** The settings of which some exclude each other. */
interface Related {
  readonly http: { readonly host: string; readonly port: number };
  readonly picker: {
    readonly enabled: boolean | null;
    readonly host: string;
    readonly port: number;
    readonly health_port: number;
    readonly decision_timeout_ms: number;
    readonly shards: { readonly addresses: readonly (readonly string[])[]; readonly timeout_ms: number };
  };
  readonly shard: { readonly index: number | "ordinal"; readonly count: number };
  readonly index: { readonly prefix_hashes: "secret" | "public"; readonly seed_file: string | null };
  readonly snapshot: { readonly warm_from: readonly string[] };
  readonly ingest: {
    readonly reconnect_ms_min: number;
    readonly reconnect_ms_max: number;
    readonly workers: number | null;
  };
  readonly limits: { readonly index_bytes: number };
  readonly discovery: {
    readonly kubernetes: {
      readonly retry_seconds_min: number;
      readonly retry_seconds_max: number;
      readonly namespaces: readonly string[];
      readonly namespace_selector: string | null;
    };
  };
}

/**
 * Refuses the setting at a path, with what was expected. `reads` are the other settings that the rule goes by: where one of them is
 * refused itself, it says nothing.
 */
type Refuse = (path: readonly string[], expected: string, reads?: readonly string[]) => void;

/** Addresses that mean every one of the machine. */
const EVERY = new Set(["0.0.0.0", "::"]);

/** What two waits are called. */
const WAITS = [
  [["ingest", "reconnect_ms_max"], "ingest.reconnect_ms_min"],
  [["discovery", "kubernetes", "retry_seconds_max"], "discovery.kubernetes.retry_seconds_min"],
] as const;

/**
 * Refuses settings that exclude each other.
 *
 * @param settings - each by itself checked.
 * @param refuse - called for each of them.
 */
export function refuseContradictions(settings: Related, refuse: Refuse): void {
  const { ingest, discovery } = settings;
  const { kubernetes } = discovery;
  const waits = [
    [ingest.reconnect_ms_min, ingest.reconnect_ms_max],
    [kubernetes.retry_seconds_min, kubernetes.retry_seconds_max],
  ] as const;
  for (const [i, [path, least]] of WAITS.entries()) {
    const [first = 0, longest = 0] = waits[i] ?? [];
    if (longest < first) refuse(path, `at least ${least}, which is ${first}`, [least]);
  }
  const workers = ingestWorkers(ingest);
  if (settings.limits.index_bytes > workers * PART_BYTES_MAX)
    refuse(
      ["limits", "index_bytes"],
      `at most ${workers * PART_BYTES_MAX}, which is ${PART_BYTES_MAX} (3 GiB) for each of ingest.workers, here ${workers}; set more workers or a lower limit`,
      ["ingest.workers"],
    );
  refuseSharedPorts(settings, refuse);
  refuseLoneShards(settings, refuse);
  refusePickersOfParts(settings, refuse);
  if (kubernetes.namespace_selector !== null && kubernetes.namespaces.length > 0)
    refuse(
      ["discovery", "kubernetes", "namespace_selector"],
      "discovery.kubernetes.namespaces or this one, not both",
    );
}

/** K7. */
function refusePickersOfParts({ shard, picker }: Related, refuse: Refuse): void {
  const path = ["picker", "shards", "addresses"];
  const { addresses } = picker.shards;
  if (picker.enabled === true && addresses.length !== shard.count && shard.count + addresses.length > 1)
    refuse(
      path,
      shard.count === 1
        ? "none where shard.count is 1, or shard.count as the number of shards"
        : `the addresses of all shards by index, as many as shard.count, which is ${shard.count}; in one text, with commas between shards and blanks between replicas`,
      ["shard.count"],
    );
  // An address is not quoted: it may hold a password.
  const all = addresses.flat().flatMap((url) => (URL.canParse(url) ? [new URL(url).href] : []));
  if (new Set(all).size < all.length) refuse(path, "each address once, of one shard only");
  const { timeout_ms: timeoutMs } = picker.shards;
  if (addresses.length > 0 && timeoutMs > picker.decision_timeout_ms)
    refuse(
      ["picker", "shards", "timeout_ms"],
      `at most picker.decision_timeout_ms, which is ${picker.decision_timeout_ms}`,
      ["picker.decision_timeout_ms"],
    );
}

function refuseLoneShards({ shard, index, snapshot }: Related, refuse: Refuse): void {
  const { prefix_hashes: hashes, seed_file: seedFile } = index;
  if (shard.index !== "ordinal" && shard.index >= shard.count)
    refuse(["shard", "index"], `an index below shard.count, which is ${shard.count}`, ["shard.count"]);
  if (seedFile !== null && hashes === "public")
    refuse(["index", "seed_file"], "none, since index.prefix_hashes is public: its seed is known");
  if (shard.count === 1) return;
  if (snapshot.warm_from.length > 0 && hashes === "secret" && seedFile === null)
    refuse(
      ["index", "seed_file"],
      "a file that all shards have, since shard.count is above 1 and snapshot.warm_from is set; or index.prefix_hashes: public",
      ["shard.count"],
    );
}

function refuseSharedPorts({ http, picker }: Pick<Related, "http" | "picker">, refuse: Refuse): void {
  if (picker.enabled !== true) return;
  const ports = [
    { path: ["http", "port"], host: http.host === "localhost" ? "127.0.0.1" : http.host, port: http.port },
    { path: ["picker", "port"], host: picker.host, port: picker.port },
    { path: ["picker", "health_port"], host: picker.host, port: picker.health_port },
  ];
  for (const [i, one] of ports.entries()) {
    const other = ports
      .slice(0, i)
      .find(
        ({ host, port }) =>
          port === one.port && (host === one.host || EVERY.has(host) || EVERY.has(one.host)),
      );
    if (one.port !== 0 && other !== undefined)
      refuse(one.path, `a port of its own; ${other.path.join(".")} has the same`);
  }
}
