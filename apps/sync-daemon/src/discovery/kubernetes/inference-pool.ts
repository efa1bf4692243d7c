/**
 * InferencePools of the Gateway API: the pods that a gateway's endpoint picker chooses from.
 *
 *     spec.selector.matchLabels   ─▶ label selector of its pods, in its own namespace
 *     spec.targetPorts            ─▶ DP ranks of a pod: each port is an endpoint of its own
 *
 * Source: kubernetes-sigs/gateway-api-inference-extension 84436a96, api/v1/inferencepool_types.go;
 * llm-d-router's extractor.go dials the events' port + the position of the target port.
 */

import { z } from "zod";

import { isLabelSelector } from "../../settings/label-selector.ts";
import type { Resource, ResourceKind } from "./resource-stream.ts";

/** The most target ports that the API takes. */
const TARGET_PORTS_MAX = 8;

/** One pool, as much of it as is needed. */
export interface PoolReading extends Resource {
  readonly namespace: string;
  readonly name: string;
  /** Null when it selects nothing that can be asked for. */
  readonly selector: string | null;
  readonly ranks: number;
}

const matchLabels = z.record(z.string(), z.string());
const pool = z.object({
  metadata: z.object({
    name: z.string().min(1),
    namespace: z.string().min(1),
    resourceVersion: z.string().min(1),
  }),
  spec: z
    .object({
      selector: z.object({ matchLabels: matchLabels.optional() }).optional().catch(undefined),
      targetPorts: z.array(z.unknown()).min(1).max(TARGET_PORTS_MAX).optional().catch(undefined),
    })
    .optional()
    .catch(undefined),
});

/** Pools as a kind that can be watched. */
export const POOLS: ResourceKind<PoolReading> = {
  noun: "inference pools",
  group: "/apis/inference.networking.k8s.io/v1",
  plural: "inferencepools",
  read: readPool,
};

function readPool(object: unknown): PoolReading | null {
  const parsed = pool.safeParse(object);
  if (!parsed.success) return null;
  const { name, namespace, resourceVersion } = parsed.data.metadata;
  const labels = Object.entries(parsed.data.spec?.selector?.matchLabels ?? {});
  const selector = labels
    .map(([key, value]) => `${key}=${value}`)
    .sort()
    .join(",");
  return {
    id: `${namespace}/${name}`,
    namespace,
    name,
    resourceVersion,
    selector: isLabelSelector(selector) ? selector : null,
    ranks: parsed.data.spec?.targetPorts?.length ?? 1,
  };
}
