/** The dashboard and the alerts of the shop. command.ts generates the files of both. */

import {
  dashboard,
  panelOf,
  quantileQueries,
  query,
  row,
  stat,
  timeseries,
} from "@kvsync/observability/dashboards/panel";
import { HERE, RATE, replicaVariables } from "@kvsync/observability/dashboards/scope";
import { type Project, projectOf } from "@kvsync/observability/project";
import { above, complement, quantile, ratio, sum, summed } from "@kvsync/observability/promql/operators";
import { bucketRate, countRate, rate, rateWithin, value } from "@kvsync/observability/promql/series";
import { alert } from "@kvsync/observability/rules/alert";
import {
  type Objective,
  objectiveAlerts,
  objectiveInhibitions,
  type ObjectiveSettings,
  objectiveShares,
} from "@kvsync/observability/rules/objectives";
import { trialMakersOf } from "@kvsync/observability/rules/trial";

import { CHECKOUT_DURATION, FAMILIES, OPEN_CARTS, ORDERS } from "./metrics.ts";

/** One alert for each replica of the shop. */
const REPLICA = ["job", "instance"] as const;
const TARGET = { job: "shop", instance: "10.0.0.1:8080" } as const;
const { growing, distributed } = trialMakersOf(TARGET);

const DECLINED_RATIO_MAX = 0.1;
const CHECKOUT_SECONDS_MAX = 2;

const SHOP = dashboard({
  uid: "shop",
  title: "Shop",
  description: "Orders, carts and checkouts.",
  variables: replicaVariables(TARGET.job),
  refresh: "10s",
  rows: [
    row({
      id: 100,
      title: "Checkout",
      panels: {
        orders: timeseries({
          id: 1,
          title: "Orders",
          shows: "Orders per second, by outcome.",
          normal: "Few are declined.",
          width: 12,
          height: 8,
          queries: [query(sum(rate(ORDERS, RATE, HERE), ["outcome"]), (label) => label("outcome"))],
        }),
        checkout: timeseries({
          id: 2,
          title: "Checkout time",
          shows: "Time below which half and 99 % of checkouts are answered.",
          normal: "Below 1 s.",
          width: 8,
          height: 8,
          queries: quantileQueries(summed(bucketRate(CHECKOUT_DURATION, RATE, HERE), []), [0.5, 0.99]),
          levels: { warning: CHECKOUT_SECONDS_MAX, bad: "above" },
        }),
        carts: stat({
          id: 3,
          title: "Open carts",
          shows: "Carts with something in them.",
          normal: "Follows the time of day.",
          width: 4,
          height: 8,
          queries: [query(sum(value(OPEN_CARTS, HERE), []), "carts")],
        }),
      },
    }),
  ],
});

const ORDERS_DECLINED = alert({
  name: "OrdersDeclined",
  when: above(
    ratio(sum(rate(ORDERS, "5m", { outcome: "declined" }), REPLICA), sum(rate(ORDERS, "5m"), REPLICA)),
    DECLINED_RATIO_MAX,
  ),
  for: "5m",
  severity: "critical",
  component: "payment",
  summary: "Many orders are declined.",
  description: ({ label, value: share }) => `${share} of the orders at ${label("instance")} are declined.`,
  panel: panelOf(SHOP, "orders"),
  runbook: {
    meaning: "The payment provider declines more than one order in ten.",
    impact: "Customers cannot buy.",
    diagnosis: [{ text: "Since when?", query: sum(rate(ORDERS, "5m"), ["outcome"]).text }],
    mitigation: [{ cause: "The provider has an outage.", fix: "Switch to the second provider." }],
    prevention: "Send a test order to each provider every minute.",
    escalation: "The payment provider's support.",
  },
  trial: {
    series: (share) => [
      growing(ORDERS, { outcome: "declined" }, share * 10),
      growing(ORDERS, { outcome: "paid" }, (1 - share) * 10),
    ],
    fires: 0.11,
    calm: 0.09,
    labels: TARGET,
  },
});

const CHECKOUT_SLOW = alert({
  name: "CheckoutSlow",
  when: above(quantile(0.99, summed(bucketRate(CHECKOUT_DURATION, "5m"), REPLICA)), CHECKOUT_SECONDS_MAX),
  for: "5m",
  severity: "warning",
  component: "checkout",
  summary: "Checkouts are slow.",
  description: ({ label, value: time }) => `One checkout in 100 at ${label("instance")} takes over ${time}.`,
  panel: panelOf(SHOP, "checkout"),
  runbook: {
    meaning: "The slowest checkouts take longer than customers wait.",
    impact: "Customers leave.",
    diagnosis: [{ text: "How many carts wait?", query: sum(value(OPEN_CARTS), ["instance"]).text }],
    mitigation: [{ cause: "Too few replicas.", fix: "Add one." }],
    prevention: "Add replicas before a sale.",
    escalation: "The owners of the shop.",
  },
  trial: {
    series: (seconds) => distributed(CHECKOUT_DURATION, {}, 0.99, seconds),
    fires: 2.2,
    calm: 1.5,
    labels: TARGET,
  },
});

/** Of a week's checkouts, one in twenty may take longer than 1.6 s. `generate --objectives FILE` has other figures. */
const OBJECTIVES = {
  periodDays: 7,
  budgets: { checkout: 0.05 },
  slowSeconds: { checkout: 1.6 },
  burns: [{ long: "1h", short: "5m", factor: 8, for: "2m", severity: "critical" }],
} as const satisfies ObjectiveSettings<"checkout">;

const SERVICE = ["cluster", "namespace", "job"] as const;

/** The objective about checkouts, by its settings. */
function checkoutObjective({ slowSeconds }: ObjectiveSettings): Objective<"checkout"> {
  const seconds = slowSeconds["checkout"] ?? OBJECTIVES.slowSeconds.checkout;
  const service = { cluster: "example", namespace: "shop", job: TARGET.job };
  const { sharedAt } = trialMakersOf({ ...service, instance: TARGET.instance });
  return {
    key: "checkout",
    title: "Checkout",
    requests: "checkouts",
    badly: `took longer than ${seconds} s`,
    metric: "slo_slow_checkouts_per_checkout",
    badShare: (window) =>
      complement(
        ratio(
          sum(rateWithin(CHECKOUT_DURATION, seconds, window), SERVICE),
          sum(countRate(CHECKOUT_DURATION, window), SERVICE),
        ),
      ),
    runbook: CHECKOUT_SLOW.runbook,
    series: (share) => sharedAt(CHECKOUT_DURATION, {}, seconds, 1 - share),
    service,
  };
}

/** The project with some settings of its objective. */
function shopWith(settings: ObjectiveSettings<"checkout">): Project {
  const objective = checkoutObjective(settings);
  const shares = objectiveShares("shop", objective, settings);
  const burns = objectiveAlerts(objective, shares, settings, panelOf(SHOP, "checkout"));
  return projectOf({
    name: "shop",
    title: "Shop",
    job: TARGET.job,
    families: FAMILIES,
    dashboards: [SHOP],
    drillDowns: { instance: SHOP.uid },
    recordingGroups: [shares.group],
    alertGroups: [
      { name: "shop", alerts: [ORDERS_DECLINED, CHECKOUT_SLOW] },
      { name: "shop-objectives", alerts: burns },
    ],
    inhibitions: objectiveInhibitions(objective.title, settings),
    objectives: {
      settings,
      withSettings: (others) => shopWith(others),
      opening: "The shop promises one thing about checkouts,",
      promises: [
        {
          key: "checkout",
          title: objective.title,
          promise: `${100 * (1 - settings.budgets.checkout)} % take at most ${settings.slowSeconds["checkout"]} s`,
        },
      ],
      shownAt: "The dashboard [Shop](dashboards.md) has their time.",
    },
    // A component without a team does not compile.
    teamOf: { payment: "billing", checkout: "shop", objectives: "shop" },
  });
}

/** The shop's monitoring. */
export const PROJECT = shopWith(OBJECTIVES);
