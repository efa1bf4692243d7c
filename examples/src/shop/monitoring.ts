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
import { projectOf } from "@kvsync/observability/project";
import { above, quantile, ratio, sum, summed } from "@kvsync/observability/promql/operators";
import { bucketRate, rate, value } from "@kvsync/observability/promql/series";
import { alert } from "@kvsync/observability/rules/alert";
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
          normal: "Below a second.",
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

/** A component without a team does not compile. */
export const PROJECT = projectOf({
  name: "shop",
  title: "Shop",
  job: TARGET.job,
  families: FAMILIES,
  dashboards: [SHOP],
  alertGroups: [{ name: "shop", alerts: [ORDERS_DECLINED, CHECKOUT_SLOW] }],
  teamOf: { payment: "billing", checkout: "shop" },
});
