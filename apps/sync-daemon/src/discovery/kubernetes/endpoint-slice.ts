/**
 * EndpointSlices of Services: addresses that serve, with or without a pod behind them.
 *
 *     endpoint with a targetRef of kind Pod   ─▶ facts of `namespace/POD`
 *     any other                               ─▶ facts of `namespace/SERVICE/ADDRESS`
 *
 * Labels are those of the slice, which has the labels of its Service; ports are the Service's, by
 * their names. So one rule reads endpoints and pods (pod-reading.ts). A slice shows no container: a
 * process that begins again is known by its readiness alone.
 *
 * Source: kubernetes.io, "EndpointSlices", discovery.k8s.io/v1. Only the first address of an endpoint
 * counts; one without a condition is ready.
 */

import { z } from "zod";

import type { PodFacts } from "./pod-facts.ts";
import { type PodReading, readFacts } from "./pod-reading.ts";
import type { PodRule } from "./pod-rule.ts";
import type { Resource, ResourceKind } from "./resource-stream.ts";

/** The label by which a slice belongs to its Service. */
export const SERVICE_LABEL = "kubernetes.io/service-name";
/** The most endpoints that the API takes. */
const ENDPOINTS_MAX = 1000;
const PORT_MAX = 65_535;

/** One slice, as the engines of its endpoints. */
export interface SliceReading extends Resource {
  readonly namespace: string;
  readonly service: string;
  /** IPv4, IPv6 or FQDN. */
  readonly addressType: string;
  readonly endpoints: readonly PodReading[];
}

const texts = z.record(z.string(), z.string()).nullish().catch(null);
const endpoint = z
  .object({
    addresses: z.array(z.string()).min(1),
    conditions: z
      .object({ ready: z.boolean().nullish(), terminating: z.boolean().nullish() })
      .nullish()
      .catch(null),
    targetRef: z
      .object({ kind: z.string().optional(), name: z.string().min(1).optional(), uid: z.string().optional() })
      .nullish()
      .catch(null),
  })
  .nullable()
  .catch(null);
const port = z
  .object({ name: z.string().min(1), port: z.int().min(1).max(PORT_MAX) })
  .nullable()
  .catch(null);
const slice = z.object({
  metadata: z.object({
    name: z.string().min(1),
    namespace: z.string().min(1),
    resourceVersion: z.string().min(1),
    labels: texts,
    annotations: texts,
  }),
  addressType: z.string(),
  endpoints: z.array(endpoint).max(ENDPOINTS_MAX).nullish(),
  ports: z.array(port).nullish().catch(null),
});

type Slice = z.output<typeof slice>;
type Endpoint = NonNullable<z.output<typeof endpoint>>;

/**
 * Slices under a rule, as a kind that can be watched.
 *
 * @param rule - how endpoints become engines.
 * @returns the kind.
 */
export function slicesOf(rule: PodRule): ResourceKind<SliceReading> {
  return {
    noun: "endpoint slices",
    group: "/apis/discovery.k8s.io/v1",
    plural: "endpointslices",
    read: (object) => readSlice(object, rule),
  };
}

/**
 * The engines of several slices, each once: an endpoint may be in two slices for a moment, and a pod of two families is in one of
 * each. IPv4 goes first.
 *
 * @param slices - in any order.
 * @returns engines by id.
 */
export function endpointsOf(slices: Iterable<SliceReading>): ReadonlyMap<string, PodReading> {
  const ordered = [...slices].sort((a, b) => (orderOf(a) < orderOf(b) ? -1 : 1));
  const found = new Map<string, PodReading>();
  for (const reading of ordered.flatMap(({ endpoints }) => endpoints))
    if (!found.has(reading.id)) found.set(reading.id, reading);
  return found;
}

function orderOf({ addressType, id }: SliceReading): string {
  return `${addressType} ${id}`;
}

function readSlice(object: unknown, rule: PodRule): SliceReading | null {
  const parsed = slice.safeParse(object);
  if (!parsed.success) return null;
  const { metadata, addressType, endpoints } = parsed.data;
  const { name, namespace, resourceVersion, labels } = metadata;
  const service = labels?.[SERVICE_LABEL] ?? "";
  const known = (endpoints ?? []).filter((one) => one !== null);
  return {
    id: `${namespace}/${name}`,
    namespace,
    resourceVersion,
    service,
    addressType,
    endpoints: known.map((one) => readFacts(factsOf(one, parsed.data, service), rule)),
  };
}

function factsOf(
  { addresses, conditions, targetRef }: Endpoint,
  { metadata, ports }: Slice,
  service: string,
): PodFacts {
  const [address = ""] = addresses;
  const pod = targetRef?.kind === "Pod" ? targetRef.name : undefined;
  const name = pod ?? `${service}/${address}`;
  const named = (ports ?? []).filter((one) => one !== null);
  return {
    id: `${metadata.namespace}/${name}`,
    namespace: metadata.namespace,
    name,
    resourceVersion: metadata.resourceVersion,
    labels: metadata.labels ?? {},
    annotations: metadata.annotations ?? {},
    state: conditions?.terminating === true ? "terminating" : "running",
    address,
    isReady: conditions?.ready !== false,
    process: targetRef?.uid ?? "",
    ports: new Map(named.map((one) => [one.name, one.port])),
    containers: [],
  };
}
