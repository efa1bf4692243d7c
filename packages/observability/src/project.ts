/**
 * The observability of one application as data: its metrics, and everything that is generated from
 * them. Every file of this package that renders or checks takes a project. None of them has facts
 * of an application.
 *
 *   definers, panels, alerts ──▶ projectOf ──▶ Project ──▶ render.ts ──▶ files ──▶ proof/ reads them
 *
 * Most of a project follows from its name. `ProjectSpec` asks for the rest.
 *
 *  P1  A component that an alert names has a team; another does not compile.
 *  P2  The name can be part of file names, links and labels.
 */

import type { Dashboard } from "./dashboards/panel.ts";
import type { MetricDefinition } from "./definition.ts";
import { PROCESS_METRICS, PROMETHEUS_METRICS } from "./exporters.ts";
import type { ExternalDefinition } from "./external.ts";
import type { RecordingGroup } from "./promql/recording.ts";
import type { AlertGroup } from "./rules/alert.ts";
import type { Inhibition } from "./rules/inhibition.ts";
import type { ObjectiveFacts, ObjectiveSettings } from "./rules/objectives.ts";
import type { LinkBases } from "./rules/links.ts";
import type { HealthCheckDefinitions } from "./signals/health-check.ts";
import type { LogEvents } from "./signals/log-event.ts";
import type { Spans } from "./signals/span.ts";
import type { StackFacts } from "./stack/stack.ts";

/** Who receives notifications. */
export interface Contacts {
  readonly emailTo: string;
  readonly emailFrom: string;
  /** host:port of the mail server. */
  readonly smarthost: string;
  /** The Slack channel of each team, with its `#`. */
  readonly channels: Readonly<Record<string, string>>;
  /** Whether critical alerts go to PagerDuty as well; its key is a secret of Alertmanager. */
  readonly pagerduty: boolean;
}

/** Where Prometheus finds what it talks to. */
export interface Addresses {
  /** `host:port` of each process; `null` to discover pods in Kubernetes by `app.kubernetes.io/name`, which is the job. */
  readonly targets: readonly string[] | null;
  /** `host:port` of Alertmanager. */
  readonly alertmanager: string;
}

/** Folders of the generated files, from the root that they are written to. All but `documents` hold nothing else. */
export interface Places {
  readonly prometheus: string;
  readonly alertmanager: string;
  readonly grafana: string;
  readonly loki: string;
  readonly jaeger: string;
  readonly collector: string;
  /** A component of Kustomize. */
  readonly operator: string;
  /** A kustomization: the dashboards as ConfigMaps. */
  readonly dashboardMaps: string;
  /** A kustomization: the stack for a cluster without the Prometheus Operator. */
  readonly cluster: string;
  /** The files that templates of a Helm chart read. */
  readonly chart: string;
  readonly runbooks: string;
  readonly documents: string;
}

/** The text of runbooks about the placeholders in their commands. */
export interface Placeholders {
  /** A command with this word in it needs the text. */
  readonly word: string;
  readonly text: string;
}

/** Pages written by hand, whose names of metrics the generator keeps in the namespace. */
export interface Pages {
  readonly namespace: string;
  /** Pages, and folders with pages. */
  readonly paths: readonly string[];
}

/** What the project calls some values of a label that are counted together. */
export interface ValueWords {
  readonly label: string;
  readonly values: readonly string[];
  /** As texts have it, in lower case. */
  readonly words: string;
}

/** Facts for the checks that no file states. */
export interface Knowledge {
  /** Families of which every replica reports the same things, so that a sum over replicas counts each of them several times. */
  readonly seenByEveryReplica: ReadonlySet<string>;
  /** Label values of series that one replica counts alone, though their family is in that set. */
  readonly ofOneReplica: Readonly<Record<string, string>>;
  /** Choices that a panel leaves out on purpose: `uid#id#label`, with the reason. */
  readonly unchosen: ReadonlyMap<string, string>;
  /** Labels with so many values that a panel shows a line for the largest alone. */
  readonly crowded: ReadonlySet<string>;
  /** Panels with all lines all the same: `uid#id`, with the reason. */
  readonly uncrowded: ReadonlyMap<string, string>;
  /** Values of open labels that queries may name, by label; the test of all panels makes series of them. */
  readonly namedValues: Readonly<Record<string, readonly string[]>>;
  /** Names of the values of a family, from 0 on, by the family: panels show these. */
  readonly stateNames: Readonly<Record<string, readonly string[]>>;
  /** What texts call some values of a label that are counted together. */
  readonly valueWords: readonly ValueWords[];
}

/** An application's observability. */
export interface Project {
  /** Names files, the folder of dashboards and their tag. */
  readonly name: string;
  /** For people: the folder of dashboards. */
  readonly title: string;
  /** What exports the metrics, as sentences name it. */
  readonly exporter: string;
  /** What writes the files, for the note at their head. */
  readonly generator: string;
  /** The scrape job. */
  readonly job: string;
  /** How often Prometheus scrapes and evaluates. */
  readonly intervalSeconds: number;
  /** A scrape with more samples is lost as a whole. */
  readonly samplesMax: number;
  readonly families: readonly MetricDefinition[];
  /** Every event of the log, by code. */
  readonly logEvents: LogEvents;
  /** Labels of the log's stream in Loki, as the collector sets them. */
  readonly logSelector: string;
  /** Every span of traces, by name. */
  readonly spans: Spans;
  /** Every health check, by name. */
  readonly healthChecks: HealthCheckDefinitions;
  readonly externalFamilies: readonly ExternalDefinition[];
  readonly recordingGroups: readonly RecordingGroup[];
  /** Groups with `objective` in their name are evaluated every minute. */
  readonly alertGroups: readonly AlertGroup[];
  readonly inhibitions: readonly Inhibition[];
  readonly dashboards: readonly Dashboard[];
  /** The dashboard about one thing, by the label that names the thing: lines with that label lead there. */
  readonly drillDowns: Readonly<Record<string, string>>;
  /** The team that looks first, by component. The first team gets what no route fits. */
  readonly teamOf: Readonly<Record<string, string>>;
  readonly links: LinkBases;
  readonly contacts: Contacts;
  readonly addresses: Addresses;
  readonly places: Places;
  /** The programs beside it that files are made for; `null` for a project that needs only Prometheus, Alertmanager and Grafana. */
  readonly stack: StackFacts | null;
  /** Its objectives, and the same project with other settings of them; `null` for a project without any. */
  readonly objectives:
    | (ObjectiveFacts & { readonly withSettings: (settings: ObjectiveSettings) => Project })
    | null;
  readonly placeholders: Placeholders | null;
  /** File of the rules that the process evaluates itself, from the root; `null` for a process that does not. */
  readonly compiledRules: string | null;
  readonly pages: Pages | null;
  readonly knowledge: Knowledge;
}

/** A project as it is written down. What is left out follows from the name, or is empty. */
export type ProjectSpec<Component extends string> = Pick<
  Project,
  "name" | "title" | "job" | "families" | "dashboards"
> &
  Partial<Omit<Project, "alertGroups" | "teamOf" | "knowledge">> & {
    readonly alertGroups: readonly AlertGroup<Component>[];
    readonly teamOf: Readonly<Record<NoInfer<Component>, string>>;
    readonly knowledge?: Partial<Knowledge>;
  };

/** Where files go unless the project states other places; the chart has the project's name. */
const PLACES: Omit<Places, "chart"> = {
  prometheus: "infra/prometheus",
  alertmanager: "infra/alertmanager",
  grafana: "infra/grafana",
  loki: "infra/loki",
  jaeger: "infra/jaeger",
  collector: "infra/otel",
  operator: "infra/kubernetes/operator",
  dashboardMaps: "infra/kubernetes/dashboards",
  cluster: "infra/kubernetes/monitoring",
  runbooks: "docs/operations/runbooks",
  documents: "docs/generated",
};

/**
 * Fills a project in.
 *
 * @param spec - what only its author knows.
 * @returns the project; addresses that nobody stated are in example domains.
 * @throws RangeError when the name cannot be part of file names and links (P2).
 */
export function projectOf<Component extends string>(spec: ProjectSpec<Component>): Project {
  const { name, teamOf, knowledge } = spec;
  if (!/^[a-z][a-z0-9-]{0,19}$/.test(name))
    throw new RangeError(
      `the name of the project is "${name}"; expected at most 20 lower-case letters, digits and hyphens`,
    );
  const domain = `${name}.example`;
  return {
    exporter: spec.title,
    generator: "@kvsync/observability",
    intervalSeconds: 15,
    samplesMax: 50_000,
    externalFamilies: [
      ...Object.values<ExternalDefinition>(PROMETHEUS_METRICS),
      ...Object.values<ExternalDefinition>(PROCESS_METRICS),
    ],
    logEvents: {},
    logSelector: `service_name="${name}"`,
    spans: {},
    healthChecks: {},
    recordingGroups: [],
    inhibitions: [],
    drillDowns: {},
    links: { runbooks: `https://runbooks.${domain}`, grafana: "http://localhost:3000" },
    contacts: {
      emailTo: `${name}-on-call@${domain}`,
      emailFrom: `alertmanager@${domain}`,
      smarthost: `smtp.${domain}:587`,
      channels: Object.fromEntries(teamsOf({ teamOf }).map((team) => [team, `#${team}-alerts`])),
      pagerduty: false,
    },
    addresses: { targets: null, alertmanager: "alertmanager:9093" },
    places: { ...PLACES, chart: `infra/helm/${name}/files` },
    stack: null,
    objectives: null,
    placeholders: null,
    compiledRules: null,
    pages: null,
    ...spec,
    knowledge: {
      seenByEveryReplica: new Set(),
      ofOneReplica: {},
      unchosen: new Map(),
      crowded: new Set(),
      uncrowded: new Map(),
      namedValues: {},
      stateNames: {},
      valueWords: [],
      ...knowledge,
    },
  };
}

/**
 * Every team with a channel of its own.
 *
 * @param project - whose.
 * @returns each once, in the order in which components name them.
 */
export function teamsOf({ teamOf }: Pick<Project, "teamOf">): readonly string[] {
  return [...new Set(Object.values(teamOf))];
}

/**
 * The folders that hold nothing but generated files: what is there and not rendered is stale.
 *
 * @param project - whose.
 * @returns paths from the root.
 */
export function generatedFolders({ places }: Pick<Project, "places">): readonly string[] {
  const {
    grafana,
    alertmanager,
    prometheus,
    loki,
    jaeger,
    operator,
    dashboardMaps,
    cluster,
    chart,
    runbooks,
  } = places;
  return [
    `${grafana}/dashboards`,
    `${grafana}/log-dashboards`,
    `${grafana}/preview`,
    alertmanager,
    prometheus,
    loki,
    jaeger,
    operator,
    dashboardMaps,
    cluster,
    `${chart}/dashboards`,
    runbooks,
  ];
}

/**
 * The rule file's name.
 *
 * @param project - whose.
 * @returns without its folder; its tests lie beside it.
 */
export function ruleFileName({ name }: Pick<Project, "name">): string {
  return `${name}.rules.yaml`;
}
