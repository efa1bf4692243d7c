/**
 * The alerts of the web page. It asks Prometheus and Alertmanager while there is a viewer, and puts
 * their answers together with the built-in alerts.
 *
 *     watched ─▶ every ASK_MS: Prometheus, Alertmanager ─▶ alertListOf ─▶ stream, GET /api/v1/alerts
 *     silence, expire ─▶ Alertmanager ─▶ asked again at once
 *
 * Invariants
 *  Q1  Without a viewer the servers are asked only for a caller of the list, when its answers are older
 *      than ASK_MS.
 *  Q2  There is one round at a time. Callers who come meanwhile share it.
 *  Q3  The failure of a source is a state of that source: the list is there without it.
 *  Q4  A silence is passed on to Alertmanager. Its answer and its error are passed back as they are.
 */

import { CodedError } from "@kvsync/core";
import type { CompiledRules } from "@kvsync/observability/evaluation/compiled-rules";

import type { dashboardSection } from "../settings/dashboard-settings.ts";
import { type AlertList, alertListOf, type ListedSource } from "./alert-list.ts";
import { AlertUpstream, type UpstreamAnswer, type UPSTREAM_PATHS } from "./alert-upstream.ts";
import type { BuiltInAlerts } from "./built-in-alerts.ts";
import {
  type Parsed,
  prometheusRules,
  type PrometheusRule,
  type ReceivedAlert,
  receivedAlerts,
  ruleFinder,
  type RuleOf,
  type Silence,
  silencesIn,
} from "./upstream-alerts.ts";

/** Time between two rounds: Prometheus evaluates our rules as often. */
const ASK_MS = 15_000;

/** Bytes of a server's error that are passed on. */
const ERROR_LENGTH_MAX = 2000;

/** Facts of a silence that was not made or ended. */
export type SilenceFacts =
  | { readonly code: "alertmanager_not_configured"; readonly setting: "dashboard.alertmanager_url" }
  | { readonly code: "upstream_unreachable"; readonly upstream: "alertmanager"; readonly reason: string }
  | {
      readonly code: "upstream_refused";
      readonly upstream: "alertmanager";
      readonly upstream_status: number;
      readonly answer: string;
    };

/** A silence that was not made or ended. */
class SilenceError extends CodedError<SilenceFacts> {}

/** A silence as it is wanted. */
export interface WantedSilence {
  readonly matchers: Silence["matchers"];
  readonly ends_at: string;
  readonly comment: string;
}

/** Settings that the sources need. */
type Settings = Pick<
  ReturnType<typeof dashboardSection.parse>,
  "prometheus_url" | "alertmanager_url" | "bearer_token_file" | "ca_file" | "grafana_url" | "runbooks_url"
>;

/** A source's last answers. */
interface Asked<Items> {
  items: Items | null;
  atSeconds: number | null;
  problem: string | null;
}

/** See the head of this file. */
export class AlertSources {
  readonly #settings: Settings;
  readonly #builtIn: BuiltInAlerts;
  readonly #now: () => number;
  readonly #ruleOf: RuleOf;
  readonly #prometheus: AlertUpstream | null;
  readonly #alertmanager: AlertUpstream | null;
  readonly #rules: Asked<readonly PrometheusRule[]> = { items: null, atSeconds: null, problem: null };
  readonly #received: Asked<readonly ReceivedAlert[]> = { items: null, atSeconds: null, problem: null };
  #silences: readonly Silence[] | null = null;
  #round: Promise<void> | null = null;
  #roundMs = -Infinity;
  /** The list, and what it was made of. */
  #made: { readonly of: string; readonly list: AlertList } | null = null;
  #timer: NodeJS.Timeout | null = null;

  /**
   * @param settings - where the servers are.
   * @param rules - ours.
   * @param builtIn - the daemon's own alerts.
   * @param now - milliseconds since the Unix epoch.
   */
  constructor(settings: Settings, rules: CompiledRules, builtIn: BuiltInAlerts, now: () => number) {
    const upstream = (url: string | null): AlertUpstream | null =>
      url === null ? null : new AlertUpstream(url, settings);
    this.#settings = settings;
    this.#builtIn = builtIn;
    this.#now = now;
    this.#ruleOf = ruleFinder(rules.alerts);
    this.#prometheus = upstream(settings.prometheus_url);
    this.#alertmanager = upstream(settings.alertmanager_url);
  }

  /**
   * Begins or ends asking (Q1).
   *
   * @param isWatched - whether there is a viewer.
   */
  watch(isWatched: boolean): void {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#timer = null;
    if (!isWatched || (this.#prometheus === null && this.#alertmanager === null)) return;
    void this.#ask();
    this.#timer = setInterval(() => {
      void this.#ask();
    }, ASK_MS);
    this.#timer.unref();
  }

  /** Ends everything. */
  async stop(): Promise<void> {
    this.watch(false);
    await Promise.all([this.#prometheus?.close(), this.#alertmanager?.close()]);
  }

  /** The list as it is known now; the same object until something is newer. */
  present(): AlertList {
    const of = `${this.#builtIn.atSeconds} ${this.#roundMs}`;
    if (this.#made?.of !== of) this.#made = { of, list: this.#make() };
    return this.#made.list;
  }

  #make(): AlertList {
    const { grafana_url, runbooks_url } = this.#settings;
    const facts = {
      sources: this.#states(),
      builtIn: this.#builtIn.standings(),
      prometheus: this.#rules.items,
      received: this.#received.items,
      silences: this.#silences,
    };
    return alertListOf(facts, { grafana_url, runbooks_url });
  }

  /**
   * The list, asked for when it is old.
   *
   * @returns resolves within the limits of the sources.
   */
  async list(): Promise<AlertList> {
    if (this.#now() - this.#roundMs > ASK_MS || this.#round !== null) await this.#ask();
    return this.present();
  }

  /**
   * The silences, asked for when they are old.
   *
   * @returns null with the problem while Alertmanager does not answer.
   * @throws SilenceError alertmanager_not_configured.
   */
  async silences(): Promise<{
    readonly silences: readonly Silence[] | null;
    readonly problem: string | null;
  }> {
    this.#manager();
    const { silences } = await this.list();
    return { silences, problem: silences === null ? this.#received.problem : null };
  }

  /**
   * Makes a silence (Q4).
   *
   * @param wanted - what is silenced, until when, and why.
   * @param createdBy - name of the caller.
   * @returns Alertmanager's answer.
   * @throws SilenceError.
   */
  async silence(wanted: WantedSilence, createdBy: string): Promise<{ readonly silence_id: string | null }> {
    const answer = await this.#manager().silence({
      matchers: wanted.matchers.map(({ name, value, is_regex, is_equal }) => ({
        name,
        value,
        isRegex: is_regex,
        isEqual: is_equal,
      })),
      startsAt: new Date(this.#now()).toISOString(),
      endsAt: wanted.ends_at,
      comment: wanted.comment,
      createdBy,
    });
    const text = accepted(answer);
    await this.#askAnew();
    return { silence_id: idIn(text) };
  }

  /**
   * Ends a silence (Q4).
   *
   * @param id - a UUID.
   * @throws SilenceError.
   */
  async expire(id: string): Promise<void> {
    accepted(await this.#manager().expire(id));
    await this.#askAnew();
  }

  #manager(): AlertUpstream {
    if (this.#alertmanager !== null) return this.#alertmanager;
    throw new SilenceError(
      { code: "alertmanager_not_configured", setting: "dashboard.alertmanager_url" },
      "silences need Alertmanager: set dashboard.alertmanager_url",
    );
  }

  #states(): ListedSource[] {
    const states: ListedSource[] = [];
    if (this.#prometheus !== null) states.push(stateOf("prometheus", this.#rules));
    if (this.#alertmanager !== null) states.push(stateOf("alertmanager", this.#received));
    const isBase = this.#rules.items === null;
    states.push({
      name: "built-in",
      state: isBase ? "in_use" : "standing_by",
      at: this.#builtIn.atSeconds === null ? null : Math.round(this.#builtIn.atSeconds),
      problem: this.#builtIn.leftOut > 0 ? `${this.#builtIn.leftOut} series found no room` : null,
    });
    return states;
  }

  /** A round that began before a change does not have it. */
  async #askAnew(): Promise<void> {
    if (this.#round !== null) await this.#round;
    await this.#ask();
  }

  #ask(): Promise<void> {
    this.#round ??= this.#askAll().finally(() => {
      this.#round = null;
      this.#roundMs = this.#now();
    });
    return this.#round;
  }

  async #askAll(): Promise<void> {
    const one = async <Items>(
      upstream: AlertUpstream | null,
      path: keyof typeof UPSTREAM_PATHS,
      parse: (text: string) => Parsed<Items>,
    ): Promise<Parsed<Items> | null> =>
      upstream === null ? null : readAnswer(await upstream.get(path), parse);
    const [rules, received, silences] = await Promise.all([
      one(this.#prometheus, "rules", (text) => prometheusRules(text, this.#ruleOf)),
      one(this.#alertmanager, "alerts", (text) => receivedAlerts(text, this.#ruleOf)),
      one(this.#alertmanager, "silences", silencesIn),
    ]);
    const at = Math.round(this.#now() / 1000);
    keep(this.#rules, rules, at);
    keep(this.#received, received, at);
    this.#silences = silences?.items ?? null;
    if (silences !== null && silences.problem !== null) this.#received.problem ??= silences.problem;
  }
}

function stateOf(name: "prometheus" | "alertmanager", asked: Asked<unknown>): ListedSource {
  const { atSeconds: at, problem } = asked;
  const state = at === null ? "not_asked_yet" : problem === null ? "in_use" : "failed";
  return { name, state, at, problem };
}

function keep<Items>(asked: Asked<Items>, answer: Parsed<Items> | null, atSeconds: number): void {
  if (answer === null) return;
  asked.items = answer.items;
  asked.problem = answer.problem;
  asked.atSeconds = atSeconds;
}

function readAnswer<Items>(answer: UpstreamAnswer, parse: (text: string) => Parsed<Items>): Parsed<Items> {
  if (answer.kind === "failed") return { items: null, problem: answer.problem };
  if (answer.status !== 200) return { items: null, problem: `it answered ${answer.status}` };
  return parse(answer.text);
}

function accepted(answer: UpstreamAnswer): string {
  const upstream = "alertmanager";
  if (answer.kind === "failed")
    throw new SilenceError(
      { code: "upstream_unreachable", upstream, reason: answer.problem },
      `Alertmanager: ${answer.problem}`,
    );
  if (answer.status === 200) return answer.text;
  const said = textIn(answer.text);
  throw new SilenceError(
    { code: "upstream_refused", upstream, upstream_status: answer.status, answer: said },
    `Alertmanager answered ${answer.status}: ${said}`,
  );
}

/** Alertmanager's errors are JSON texts, or objects with a message. */
function textIn(text: string): string {
  let said = text;
  try {
    const json: unknown = JSON.parse(text);
    if (typeof json === "string") said = json;
    else if (typeof json === "object" && json !== null && "message" in json) said = String(json.message);
  } catch {
    // Not JSON: as it is.
  }
  return said.slice(0, ERROR_LENGTH_MAX).trim();
}

function idIn(text: string): string | null {
  try {
    const json: unknown = JSON.parse(text);
    return typeof json === "object" &&
      json !== null &&
      "silenceID" in json &&
      typeof json.silenceID === "string"
      ? json.silenceID
      : null;
  } catch {
    return null;
  }
}
