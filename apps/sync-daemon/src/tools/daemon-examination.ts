/**
 * `doctor`'s examination of a running daemon: its readiness, its health checks, the engines that
 * are refused, and the streams with a fault.
 */

import { z } from "zod";

import type { DaemonApi } from "./daemon-api.ts";
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
      ranks: z.array(
        z.object({
          dp_rank: z.number(),
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
  refused: z.array(z.object({ source: z.string(), id: z.string(), reason: z.string(), message: z.string() })),
});

const OF_HEALTH: Readonly<Record<string, FindingStatus>> = { healthy: "ok", degraded: "warn" };
const OF_TRUST: Readonly<Record<string, FindingStatus>> = { exact: "ok", partial: "warn", stale: "warn" };

/**
 * Asks a daemon.
 *
 * @param api - the daemon.
 * @param url - for the findings.
 * @returns readiness, checks, engines wanted in vain, and streams; one failed finding when it cannot be asked.
 */
export async function examineDaemon(api: DaemonApi, url: string): Promise<Finding[]> {
  try {
    const ready = readiness.parse(await (await api.get("/readyz", [200, 503])).json());
    const { checks } = health.parse(await (await api.get("/health", [200, 503])).json());
    const list = engines.parse(await (await api.get("/api/v1/engines")).json());
    return [
      {
        check: "daemon",
        subject: url,
        status: ready.status === "ready" ? "ok" : "fail",
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
      ...list.refused.flatMap(refusalFinding),
      ...list.engines.flatMap(({ id, ranks }) => ranks.map((rank) => streamFinding(id, rank))),
    ];
  } catch (error) {
    if (error instanceof ToolError)
      return [{ check: "daemon", subject: url, status: "fail", message: error.message }];
    if (error instanceof z.ZodError || error instanceof SyntaxError)
      return [
        {
          check: "daemon",
          subject: url,
          status: "fail",
          message: "its answers are not those of a kvsync daemon",
        },
      ];
    throw error;
  }
}

/** A duplicate is followed all the same: of no interest here. */
function refusalFinding({ source, id, reason, message }: EngineList["refused"][number]): Finding[] {
  if (reason === "duplicate") return [];
  return [
    { check: "daemon", subject: `${id} of ${source}`, status: "fail", message: `${reason}: ${message}` },
  ];
}

type EngineList = z.output<typeof engines>;
type Rank = EngineList["engines"][number]["ranks"][number];

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
