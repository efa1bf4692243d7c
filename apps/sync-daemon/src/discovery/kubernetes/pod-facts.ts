/**
 * A pod as the API server describes it, reduced to what decides how it is followed. The same facts
 * are made of an endpoint of a Service (endpoint-slice.ts), so that one rule reads both.
 */

import { z } from "zod";

import type { ContainerText } from "./command-line.ts";

const PORT_MAX = 65_535;

/** Whether there is something to follow, by the words of the API. */
type PodState = "running" | "not_running" | "terminating";

/** See the head of this file. */
export interface PodFacts {
  /** `namespace/name`. */
  readonly id: string;
  readonly namespace: string;
  readonly name: string;
  readonly resourceVersion: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  readonly state: PodState;
  /** Empty for none. */
  readonly address: string;
  readonly isReady: boolean;
  /** Another text says that a process has started again. */
  readonly process: string;
  /** Numbers of the containers' ports by their names. */
  readonly ports: ReadonlyMap<string, number>;
  readonly containers: readonly ContainerText[];
}

const texts = z.record(z.string(), z.string()).nullish();
const variable = z
  .object({
    name: z.string(),
    value: z.string().nullish(),
    valueFrom: z.object({ fieldRef: z.object({ fieldPath: z.string() }).nullish() }).nullish(),
  })
  .nullable()
  .catch(null);
const containerPort = z
  .object({ name: z.string().min(1), containerPort: z.int().min(1).max(PORT_MAX) })
  .nullable()
  .catch(null);
const words = z.array(z.string()).nullish().catch(null);
const container = z
  .object({
    command: words,
    args: words,
    env: z.array(variable).nullish().catch(null),
    ports: z.array(containerPort).nullish().catch(null),
  })
  .catch({});
const podSchema = z.object({
  metadata: z.object({
    name: z.string().min(1),
    namespace: z.string().min(1),
    uid: z.string().default(""),
    resourceVersion: z.string().min(1),
    deletionTimestamp: z.string().nullish(),
    labels: texts,
    annotations: texts,
  }),
  spec: z
    .object({ containers: z.array(container).nullish().catch(null) })
    .nullish()
    .catch(null),
  status: z
    .object({
      phase: z.string().nullish(),
      podIP: z.string().nullish(),
      conditions: z.array(z.object({ type: z.string(), status: z.string() })).nullish(),
      containerStatuses: z.array(z.object({ containerID: z.string().nullish() })).nullish(),
    })
    .nullish(),
});

type Pod = z.output<typeof podSchema>;
type Container = z.output<typeof container>;

/**
 * Reads a pod.
 *
 * @param object - parsed JSON of the API server.
 * @returns null when it is no pod at all.
 */
export function podFacts(object: unknown): PodFacts | null {
  const parsed = podSchema.safeParse(object);
  if (!parsed.success) return null;
  const { metadata, spec, status } = parsed.data;
  const { name, namespace, resourceVersion } = metadata;
  const containers = spec?.containers ?? [];
  const ports = containers.flatMap((one) => one.ports ?? []).filter((one) => one !== null);
  const address = status?.podIP ?? "";
  const fields = new Map([
    ["metadata.name", name],
    ["metadata.namespace", namespace],
    ["status.podIP", address],
  ]);
  return {
    id: `${namespace}/${name}`,
    namespace,
    name,
    resourceVersion,
    labels: metadata.labels ?? {},
    annotations: metadata.annotations ?? {},
    state: stateOf(parsed.data),
    address,
    isReady: (status?.conditions ?? []).some((one) => one.type === "Ready" && one.status === "True"),
    process: processOf(parsed.data),
    ports: new Map(ports.map((one) => [one.name, one.containerPort])),
    containers: containers.map((one) => containerText(one, fields)),
  };
}

function stateOf({ metadata, status }: Pod): PodState {
  if (metadata.deletionTimestamp !== undefined && metadata.deletionTimestamp !== null) return "terminating";
  return status?.phase === "Running" ? "running" : "not_running";
}

/** Differs once a container has started again. */
function processOf({ metadata, status }: Pod): string {
  const containers = (status?.containerStatuses ?? []).map(({ containerID }) => containerID ?? "");
  return [metadata.uid, ...containers].join(" ");
}

function containerText(
  { command, args, env }: Container,
  fields: ReadonlyMap<string, string>,
): ContainerText {
  const known = (env ?? []).flatMap((one): [string, string][] => {
    const value = one?.value ?? fields.get(one?.valueFrom?.fieldRef?.fieldPath ?? "");
    return one === null || value === undefined ? [] : [[one.name, value]];
  });
  return { command: command ?? [], args: args ?? [], env: new Map(known) };
}
