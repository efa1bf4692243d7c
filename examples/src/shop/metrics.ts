/**
 * The metrics of a shop: each defined once, as typed data. The namespace is the shop's own.
 *
 *     shop_orders_total{outcome}         counter
 *     shop_open_carts                    gauge
 *     shop_checkout_duration_seconds     histogram
 */

import { definersOf, doubling } from "@kvsync/observability/definition";
import { Exposition } from "@kvsync/observability/exposition";
import { MetricSlots } from "@kvsync/observability/slots";

const { counter, gauge, histogram } = definersOf("shop");

/** One series per outcome; both are 0 until something happens. */
export const ORDERS = counter({
  name: "orders_total",
  help: "Orders, by outcome.",
  unit: "none",
  labels: { outcome: ["paid", "declined"] },
  preset: "zero is a fact",
  why: "Declined orders are lost sales.",
});

/** No series until it is set: a number would be an invention. */
export const OPEN_CARTS = gauge({
  name: "open_carts",
  help: "Carts with something in them.",
  unit: "none",
  labels: {},
  preset: "absent until known",
  why: "The load that is about to come.",
});

/** Bounds from 50 ms to 6.4 s. */
export const CHECKOUT_DURATION = histogram({
  name: "checkout_duration_seconds",
  help: "Time from the order to the answer of the payment provider.",
  unit: "seconds",
  labels: {},
  preset: "zero is a fact",
  buckets: doubling(0.05, 8),
  why: "Customers leave when a checkout takes long.",
});

/** Every family: one that is not here cannot be scraped. */
export const FAMILIES = [ORDERS, OPEN_CARTS, CHECKOUT_DURATION];

/** What `/metrics` answers. */
export const exposition = new Exposition(FAMILIES);

const slots = new MetricSlots(FAMILIES, "main", (announcement) => {
  exposition.accept(announcement);
});

/** A handle for each series: an update costs a few nanoseconds. */
export const metrics = {
  paid: slots.counter(ORDERS, { outcome: "paid" }),
  declined: slots.counter(ORDERS, { outcome: "declined" }),
  openCarts: slots.gauge(OPEN_CARTS, {}),
  checkout: slots.histogram(CHECKOUT_DURATION, {}),
};
