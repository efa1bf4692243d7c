/**
 * InferencePools of the Gateway API: the pods that a gateway's endpoint picker chooses from.
 *
 *     spec.selector.matchLabels   ─▶ label selector of its pods, in its own namespace
 *     spec.targetPorts            ─▶ DP ranks of a pod: each port is an endpoint of its own
 *
 * Group inference.networking.x-k8s.io, as it was before v1: spec.selector has the labels itself, spec.targetPortNumber
 * the one port.
 *
 * Source: kubernetes-sigs/gateway-api-inference-extension 84436a96, api/v1/inferencepool_types.go;
 * llm-d-router's extractor.go dials the events' port + the position of the target port.
 */

import { z } from "zod";

import { isLabelSelector } from "../../settings/label-selector.ts";
import type { Resource, ResourceKind } from "./resource-stream.ts";

/** The most target ports that the API takes. */
const TARGET_PORTS_MAX = 8;
const PORT_MAX = 65_535;
/** The group of pools today. */
const GROUP = "inference.networking.k8s.io";
/** Groups with another version than v1. */
const VERSIONS: Readonly<Record<string, string>> = { "inference.networking.x-k8s.io": "v1alpha2" };

/** One pool, as much of it as is needed. */
export interface PoolReading extends Resource {
  readonly namespace: string;
  readonly name: string;
  /** Null when it selects nothing that can be asked for. */
  readonly selector: string | null;
  readonly ranks: number;
  /** Ports that requests go to, in order; empty when one of them is none. */
  readonly ports: readonly number[];
}

const labels = z.record(z.string(), z.string());
const port = z.int().min(1).max(PORT_MAX);
const pool = z.object({
  metadata: z.object({
    name: z.string().min(1),
    namespace: z.string().min(1),
    resourceVersion: z.string().min(1),
  }),
  spec: z
    .object({
      selector: z
        .union([z.object({ matchLabels: labels }), labels.transform((own) => ({ matchLabels: own }))])
        .optional()
        .catch(undefined),
      targetPortNumber: port.optional().catch(undefined),
      targetPorts: z.array(z.unknown()).min(1).max(TARGET_PORTS_MAX).optional().catch(undefined),
    })
    .optional()
    .catch(undefined),
});

/**
 * Pools as a kind that can be watched.
 *
 * @param group - their API group.
 */
export function poolsIn(group: string): ResourceKind<PoolReading> {
  return {
    noun: "inference pools",
    group: `/apis/${group}/${VERSIONS[group] ?? "v1"}`,
    plural: "inferencepools",
    read: readPool,
  };
}

/** Pools of today's group. */
export const POOLS = poolsIn(GROUP);

function readPool(object: unknown): PoolReading | null {
  const parsed = pool.safeParse(object);
  if (!parsed.success) return null;
  const { name, namespace, resourceVersion } = parsed.data.metadata;
  const { selector: given, targetPorts, targetPortNumber } = parsed.data.spec ?? {};
  const selector = Object.entries(given?.matchLabels ?? {})
    .map(([key, value]) => `${key}=${value}`)
    .sort()
    .join(",");
  return {
    id: `${namespace}/${name}`,
    namespace,
    name,
    resourceVersion,
    selector: isLabelSelector(selector) ? selector : null,
    ranks: targetPorts?.length ?? 1,
    ports: targetPorts === undefined ? [targetPortNumber ?? []].flat() : numbersOf(targetPorts),
  };
}

function numbersOf(ports: readonly unknown[]): readonly number[] {
  const parsed = z.array(z.object({ number: port })).safeParse(ports);
  return parsed.success ? parsed.data.map(({ number }) => number) : [];
}
