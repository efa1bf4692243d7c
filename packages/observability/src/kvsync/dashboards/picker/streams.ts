/** Row of the dashboard "KV endpoint picker": Streams. */

import { PICKER_METRICS } from "../../catalogue/picker.ts";
import { max, sum, summed } from "../../../promql/operators.ts";
import { bucketRate, rate, value } from "../../../promql/series.ts";
import { quantileQueries, query, row, timeseries } from "../../../dashboards/panel.ts";
import { HERE, INSTANCE, RATE } from "../scope.ts";

/** The row with its panels. */
export const STREAMS = row({
  id: 103,
  title: "Streams",
  folded: true,
  panels: {
    open: timeseries({
      id: 23,
      title: "Open requests",
      shows:
        "Requests of gateways that are open, those that count as load of an endpoint, and connections, all replicas together.",
      normal: "Open and booked requests are close together; a few connections for each gateway.",
      width: 8,
      height: 8,
      queries: [
        query(sum(value(PICKER_METRICS.streams, HERE), []), "open"),
        query(sum(value(PICKER_METRICS.bookings, HERE), []), "booked"),
        query(sum(value(PICKER_METRICS.connections, HERE), []), "connections of gateways"),
      ],
    }),
    ends: timeseries({
      id: 24,
      title: "Ends of streams",
      shows: "Streams that are over, per second, by how they ended.",
      normal: "All complete, or left where responses are not followed. client: callers disconnect.",
      width: 8,
      height: 8,
      stacked: true,
      queries: [query(sum(rate(PICKER_METRICS.streamEnds, RATE, HERE), ["end"]), (label) => label("end"))],
    }),
    faults: timeseries({
      id: 25,
      title: "Faults of gateways",
      shows: "Streams and connections per second that ended with an error, by reason.",
      normal: "0.",
      width: 8,
      height: 8,
      queries: [query(sum(rate(PICKER_METRICS.faults, RATE, HERE), ["reason"]), (label) => label("reason"))],
    }),
    firstToken: timeseries({
      id: 26,
      title: "Time to first token",
      shows: "From a request's question to the first byte of its response, where responses are followed.",
      normal: "The time that the model takes for the part of the prompt that is not cached.",
      width: 8,
      height: 8,
      logarithmic: true,
      queries: quantileQueries(summed(bucketRate(PICKER_METRICS.firstToken, RATE, HERE), []), [0.5, 0.99]),
    }),
    requestTime: timeseries({
      id: 27,
      title: "Request time",
      shows: "From a request's question to the end of its stream.",
      normal: "The time that answers of this length take.",
      width: 8,
      height: 8,
      logarithmic: true,
      queries: quantileQueries(
        summed(bucketRate(PICKER_METRICS.requestDuration, RATE, HERE), []),
        [0.5, 0.99],
      ),
    }),
    chunks: timeseries({
      id: 28,
      title: "Chunks of responses",
      shows: "Chunks of response bodies per second that pass the picker.",
      normal:
        "Follows the answers. The shipped configuration of Envoy sends no response bodies, so that there are none.",
      width: 8,
      height: 8,
      queries: [query(sum(rate(PICKER_METRICS.responseChunks, RATE, HERE), []), "chunks")],
    }),
    buffered: timeseries({
      id: 29,
      title: "Buffered bodies",
      shows: "Bytes of request bodies that wait for their decision, by replica.",
      normal: "Far below picker.limits.buffered_bytes.",
      width: 8,
      height: 8,
      queries: [query(max(value(PICKER_METRICS.buffered, HERE), INSTANCE), (label) => label("instance"))],
    }),
    shareDrops: timeseries({
      id: 31,
      title: "Dropped messages between pickers",
      shows:
        "Messages of shared decisions per second that were not used, by reason: a sign of life each second, and three messages for each request.",
      normal: "0. unsent: NATS is away. endpoint_unknown: pickers of one subject have different pools.",
      width: 8,
      height: 8,
      queries: [
        query(sum(rate(PICKER_METRICS.shareDrops, RATE, HERE), ["reason"]), (label) => label("reason")),
      ],
    }),
    lag: timeseries({
      id: 30,
      title: "Delay of the picker's thread",
      shows: "How late the picker's thread was at its timer, at most, by replica.",
      normal: "Below 20 ms.",
      width: 8,
      height: 8,
      queries: [query(max(value(PICKER_METRICS.eventLoopLag, HERE), INSTANCE), (label) => label("instance"))],
    }),
  },
});
