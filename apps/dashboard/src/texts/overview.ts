/**
 * Sentences and labels of the overview.
 *
 * `**` marks what is shown in bold. Names of the daemon (states, reasons, checks) are shown as they are: they can be searched for.
 */
/** The overview. */
export const OVERVIEW = {
  attention: (engines: number): string =>
    `${engines} ${engines === 1 ? "engine needs" : "engines need"} attention`,
  exactStreams: "Exact engines",
  exactOf: (exact: string, all: string): string => `${exact} of ${all}; normal ≥ 99.5 %`,
  lookups: "Lookups",
  decisions: (exact: string, degraded: string, fallback: string): string =>
    `${exact} exact · ${degraded} degraded · ${fallback} fallback`,
  noLookups: "none in the last seconds",
  lookupP99: "Lookup p99",
  objective: (p50: string): string => `p50 ${p50}; objective 5 ms`,
  objectiveLine: "objective 5 ms",
  eventsApplied: "Events applied",
  lag: (p99: string): string => `received → applied p99 ${p99}`,
  hitRate: "Prefix hit rate",
  hitOf: "of prompt blocks in lookups",
  memory: "Index memory",
  memoryOf: (limit: string, blocks: string): string => `of ${limit}; ${blocks} blocks`,
  trustMap: "Trust by engine",
  exactOfModel: (exact: string, all: string): string => `${exact} of ${all} exact`,
  noModel: "no model",
  unreachable: "unreachable",
  noEngines:
    "No engine is known. Engines come from a file, the HTTP API or Kubernetes (setting `discovery`).",
  mapLabel: (model: string, exact: string, all: string): string =>
    `Engines of ${model}: ${exact} of ${all} are exact. The table of engines lists them.`,
  mapMore: (left: string): string => `${left} more engines are in the table.`,
  perSecond: "per second",
  perSecondByType: "per second, by type",
  latency: "Lookup latency",
  ms: "milliseconds",
  msLog: "milliseconds, log scale",
  byDecision: "Lookups by decision",
  hitByModel: "share of prompt blocks, by model",
  noEvents: "No event was applied in this time.",
  noLatency: "No lookup was measured in this time.",
  noDecisions: "No lookup was answered in this time.",
  noHits: "No lookup with blocks was answered in this time.",
  alerts: "Alerts",
  allAlerts: "All alerts",
  moreAlerts: (count: number): string => `${count} more`,
  noAlerts: "No alert fires or is pending.",
  needsAttention: "Needs attention",
  allEngines: "engines",
  noEngineKnown: "No engine is known.",
  nothingNeeds: "All engines are followed exactly.",
  health: "Health",
  healthy: (healthy: number, all: number): string => `${healthy} of ${all} healthy`,
  noChecks: "The first health checks are running.",
  recent: "Recent events",
  nothingRecent: "Nothing happened since the daemon started.",
  p99: "p99",
  p50: "p50",
};
