/**
 * `doctor`'s examination of a running daemon: its readiness, its health checks, the engines that
 * are refused, and the streams with a fault. It also returns the engines that the daemon follows,
 * so that `doctor` examines each of them.
 */

import { z } from "zod";

import type { DaemonApi } from "./daemon-api.ts";
import type { RankToExamine } from "./engine-examination.ts";
import type { Finding, FindingStatus } from "./finding.ts";
import { ToolError } from "./tool-error.ts";

const health = z.object({
  checks: z.record(z.string(), z.object({ status: z.string(), message: z.string() })),
});
const readiness = z.object({ status: z.string(), reason: z.string() });
const engines = z.object({
  engines: z.array(
    z.object({
      id: z.string(),
      model: z.string(),
      topic: z.string(),
      bind: z.boolean(),
      curve_server_key: z.string().nullable().default(null),
      ranks: z.array(
        z.object({
          dp_rank: z.number(),
          endpoint: z.string().nullable(),
          replay_endpoint: z.string().nullable(),
          state: z.string(),
          trust: z.string(),
          trust_reason: z.string().nullable(),
          trust_since: z.string().nullable(),
          connected: z.boolean(),
          faults: z.record(z.string(), z.number()),
          unknown_fields: z.record(z.string(), z.number()),
        }),
      ),
    }),
  ),
  // A daemon of an earlier version follows the whole fleet.
  shard: z
    .object({ index: z.number(), count: z.number(), engines_elsewhere: z.number() })
    .default({ index: 0, count: 1, engines_elsewhere: 0 }),
  refused: z.array(z.object({ source: z.string(), id: z.string(), reason: z.string(), message: z.string() })),
});

const OF_HEALTH: Readonly<Record<string, FindingStatus>> = { healthy: "ok", degraded: "warn" };
const OF_TRUST: Readonly<Record<string, FindingStatus>> = { exact: "ok", partial: "warn", stale: "warn" };

/** What a daemon says. */
export interface DaemonExamination {
  readonly findings: readonly Finding[];
  /** Every rank that it follows; null when it could not be asked. */
  readonly ranks: readonly FollowedRank[] | null;
}

/** A rank that the daemon follows. */
export interface FollowedRank extends RankToExamine {
  /** Whether the daemon is connected to it. */
  readonly connected: boolean;
}

/**
 * Asks a daemon.
 *
 * @param api - the daemon.
 * @param isNamed - whether the user asked for it. One at the address of the settings need not run.
 * @returns readiness, checks, engines that are not followed, and streams; one finding when it cannot be asked.
 */
export async function examineDaemon(api: DaemonApi, isNamed: boolean): Promise<DaemonExamination> {
  const { url } = api;
  try {
    const ready = await api.json("/readyz", readiness, [200, 503]);
    const { checks } = await api.json("/health", health, [200, 503]);
    const list = await api.json("/api/v1/engines", engines);
    const findings: Finding[] = [
      {
        check: "daemon",
        subject: url,
        status: ofReadiness(ready),
        message: `${ready.status}: ${ready.reason}`,
      },
      ...Object.entries(checks).map(([name, { status, message }]): Finding => {
        return {
          check: "daemon",
          subject: name,
          status: OF_HEALTH[status] ?? "fail",
          message: `${status}: ${message}`,
        };
      }),
      ...shardFinding(list),
      ...list.refused.flatMap(refusalFinding),
      ...list.engines.flatMap(({ id, ranks }) => ranks.map((rank) => streamFinding(id, rank))),
    ];
    return { findings, ranks: list.engines.flatMap(ranksOf) };
  } catch (error) {
    return { findings: [unasked(url, isNamed, error)], ranks: null };
  }
}

/** The daemon answers, and some engines were not in sync in time or are not any more: their findings say why. */
function ofReadiness({ status, reason }: z.output<typeof readiness>): FindingStatus {
  if (status !== "ready") return "fail";
  return reason === "in_sync" ? "ok" : "warn";
}

/** @throws what is no failure of asking. */
function unasked(url: string, isNamed: boolean, error: unknown): Finding {
  const finding = (status: FindingStatus, message: string): Finding => {
    return { check: "daemon", subject: url, status, message };
  };
  if (error instanceof ToolError) {
    const { facts } = error;
    // The subject has the address already.
    const reason = "reason" in facts && facts.code !== "unreachable" ? facts.reason : error.message;
    const isAway = facts.code === "daemon_unreachable" && facts.cause === "ECONNREFUSED";
    const isClosed = facts.code === "http_status" && facts.status === 401;
    return isNamed || !(isAway || isClosed)
      ? finding("fail", reason)
      : finding("skip", `not looked at: ${reason}. The address is that of the settings; --url names another`);
  }
  throw error;
}

/** Of a daemon that follows the whole fleet there is nothing to say. */
function shardFinding({ shard, engines: followed }: EngineList): Finding[] {
  const { index, count, engines_elsewhere: elsewhere } = shard;
  if (count === 1) return [];
  const message = `follows ${followed.length} engines; ${elsewhere} belong to other shards`;
  // Rendezvous hashing leaves a shard of a large fleet without engines only when ids are not what they should be.
  const status = followed.length === 0 && elsewhere > 0 ? "warn" : "ok";
  return [{ check: "daemon", subject: `shard ${index} of ${count}`, status, message }];
}

/** A duplicate is followed all the same: of no interest here. */
function refusalFinding({ source, id, reason, message }: EngineList["refused"][number]): Finding[] {
  if (reason === "duplicate") return [];
  return [
    { check: "daemon", subject: `${id} of ${source}`, status: "fail", message: `${reason}: ${message}` },
  ];
}

type EngineList = z.output<typeof engines>;
type Engine = EngineList["engines"][number];
type Rank = Engine["ranks"][number];

function ranksOf({ id, ranks, curve_server_key: curveServerKey, ...engine }: Engine): FollowedRank[] {
  const { model, topic, bind } = engine;
  return ranks.flatMap(({ dp_rank: dpRank, endpoint, replay_endpoint: replayEndpoint, connected }) =>
    endpoint === null
      ? []
      : [
          {
            worker: id,
            model,
            topic,
            bind,
            curveServerKey,
            rank: { dpRank, endpoint, replayEndpoint },
            connected,
          },
        ],
  );
}

function streamFinding(worker: string, rank: Rank): Finding {
  const { dp_rank, state, trust, connected } = rank;
  const faults = countsText("faults", rank.faults);
  const status = faults === "" ? (OF_TRUST[trust] ?? "fail") : "warn";
  const more = `${connected ? "" : ", not connected"}${faults}${countsText("unknown fields", rank.unknown_fields)}`;
  return {
    check: "stream",
    subject: `${worker} rank ${dp_rank}`,
    status: connected ? status : "fail",
    message: `${trust}${reasonText(rank)}, ${state}${more}`,
  };
}

function reasonText({ trust_reason, trust_since }: Rank): string {
  if (trust_reason === null) return "";
  return ` (${trust_reason}${trust_since === null ? "" : ` since ${trust_since}`})`;
}

function countsText(title: string, counts: Readonly<Record<string, number>>): string {
  const parts = Object.entries(counts).map(([name, count]) => `${name} ${count}`);
  return parts.length === 0 ? "" : `; ${title}: ${parts.join(", ")}`;
}
