/**
 * Sentences and labels of the verdict (verdict/verdict.ts).
 *
 * `**` marks what is shown in bold. Names of the daemon (states, reasons, checks) are shown as they are: they can be searched for.
 */
/** The verdict (verdict/verdict.ts). */
export const VERDICTS = {
  connecting: "Connecting to the daemon.",
  refused: {
    401: "The daemon asks for a token.",
    403: "This token may not read. It needs the scope read or admin.",
  },
  lost: (since: string, hasData: boolean): string =>
    `Not connected to the daemon since ${since}.${hasData ? " The data shown is old." : ""}`,
  unhealthy: (check: string, message: string): string =>
    `The daemon is unhealthy: ${check}${message === "" ? "" : `, ${message.replace(/\.$/, "")}`}.`,
  syncOff: (missing: readonly string[], message: string): string =>
    missing.length > 0
      ? `KV event sync is off: ${missing.join(", ")} ${missing.length === 1 ? "is" : "are"} missing.`
      : `KV event sync is off: ${message}`,
  noInformation: "Lookups answer that no cache information is available.",
  noEngine: (sources: readonly string[]): string =>
    sources.length === 0 ? "No engine is known." : `No engine is known. Sources: ${sources.join(", ")}.`,
  catchingUp: (inSync: string, all: string, number: number): string =>
    `Catching up: ${inSync} of ${all} ${number === 1 ? "engine is" : "engines are"} in sync.`,
  modelWithoutExact: (model: string, engines: number, areUnreachable: boolean): string => {
    const who = engines === 1 ? "its only engine is" : `all ${engines} engines are`;
    return `Nothing exact is known about ${model}: ${who} ${areUnreachable ? "unreachable" : "below exact"}.`;
  },
  fallbacks: (oneIn: number, reason: string | null): string =>
    `${oneIn === 1 ? "Most lookups" : `1 lookup in ${oneIn}`} cannot be answered${reason === null ? "" : `: ${reason}`}.`,
  backPressure: (level: number, messages: string | null): string =>
    `Events wait to be applied: back-pressure level ${level} of 3${messages === null ? "" : `, ${messages} messages in queues`}.`,
  firing: (name: string, about: string, summary: string, others: number): string => {
    const more = others === 0 ? "" : ` ${others} more ${others === 1 ? "alert fires" : "alerts fire"}.`;
    return `${name} fires${about === "" ? "" : ` for ${about}`}${summary === "" ? "." : `: ${summary}`}${more}`;
  },
  someExact: (exact: string, all: string, number: number): string =>
    `Answers are exact for ${exact} of ${all} ${number === 1 ? "engine" : "engines"}.`,
  allExact: (all: string, number: number, p50: string | null): string => {
    const who = number === 1 ? "The engine is" : `All ${all} engines are`;
    return `${who} followed exactly.${p50 === null ? "" : ` Lookups take ${p50}.`}`;
  },
  /** The number of engines; the noun stands with the first number of a sentence. */
  engines: (text: string, engines: number, isFirst: boolean): string =>
    `**${text}**${isFirst ? ` ${engines === 1 ? "engine" : "engines"}` : ""}`,
  stale: (engines: number): string => `${engines === 1 ? "catches" : "catch"} up after lost messages`,
  partial: "may hold more than the index has",
  unknown: (engines: number): string => `${engines === 1 ? "is" : "are"} not in sync yet`,
  unreachable: "cannot be reached",
  lowCheck: (name: string, status: string, message: string): string =>
    `The health check **${name}** is ${status}${message === "" ? "" : `: ${message.replace(/\.$/, "")}`}.`,
  moreChecks: (checks: string, number: number): string =>
    `**${checks}** more ${number === 1 ? "check is" : "checks are"} not healthy.`,
  nearlyFull: (share: string): string => `The index uses **${share}** of its memory limit.`,
  worst: (engine: string, what: string): string => `The worst is **${engine}**: ${what}.`,
  outOfReach: "unreachable",
  nothingDropped: "No event was dropped in the last second.",
  dropped: (reasons: readonly string[]): string =>
    `Some events of the last second were not applied: ${reasons.join(", ")}.`,
  noLookups: "No lookup was asked lately.",
  lookupsP99: (p99: string): string => `The p99 of lookups is **${p99}**.`,
  lookups: (p50: string, p99: string | null): string =>
    `Lookups take **${p50}**${p99 === null ? "" : ` (p99 **${p99}**)`}.`,
};
