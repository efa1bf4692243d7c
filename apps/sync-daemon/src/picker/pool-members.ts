/**
 * The pods of an InferencePool as endpoints.
 *
 *     pod, ready, not being deleted ─┬─ × target ports of the pool, or its own (annotation) ─▶ addresses
 *                                    └─ engine of the id namespace/pod ─▶ model, ranks; none: no events, model not known
 *
 *  M1  Each pod that is ready is a member once, with its ports in order (pool-members.test.ts "M1").
 *  M2  With several ports, port i is rank i of the pod; there are as many ranks as ports (pool-members.test.ts "M2").
 *
 * Source: kubernetes-sigs/gateway-api-inference-extension 84436a96, api/v1/inferencepool_types.go: every target port is an
 * endpoint of its own.
 */
import { isIPv6 } from "node:net";

import { podFacts } from "../discovery/kubernetes/pod-facts.ts";
import type { Resource, ResourceKind } from "../discovery/kubernetes/resource-stream.ts";
import type { PoolEngine } from "./endpoint-fleet.ts";

/** Ports of one pod, with commas between, in place of the pool's. */
export const PORTS_ANNOTATION = "model.aibrix.ai/http-ports";
/** More than the ranks of any pod. */
const PORTS_MAX = 64;
const PORT_MAX = 65_535;

/** A pod, as much of it as is needed. */
export interface PoolPod extends Resource {
  readonly address: string;
  readonly isReady: boolean;
  readonly isTerminating: boolean;
  /** As annotated; null for the pool's. */
  readonly ports: string | null;
}

/** What is known of an engine that publishes events. */
export type KnownEngine = Pick<PoolEngine, "model" | "ranks">;

/** The endpoints of a pool. */
export interface PoolMembers {
  readonly engines: readonly PoolEngine[];
  /** Endpoints of pods that are not ready. */
  readonly notReady: number;
  /** Pods whose annotation cannot be used, by their id; the pool's ports count there. */
  readonly unusable: readonly string[];
}

/** Pods as a kind that can be watched. */
export const POOL_PODS: ResourceKind<PoolPod> = {
  noun: "pods",
  group: "/api/v1",
  plural: "pods",
  read: (object) => {
    const pod = podFacts(object);
    if (pod === null) return null;
    const { id, resourceVersion, address, isReady, state, annotations } = pod;
    const ports = annotations[PORTS_ANNOTATION] ?? null;
    return { id, resourceVersion, address, isReady, isTerminating: state === "terminating", ports };
  },
};

/**
 * The members of a pool.
 *
 * @param pods - that its selector selects.
 * @param ports - its target ports.
 * @param engineOf - the engine of an id; null for a pod that publishes no events.
 */
export function membersOf(
  pods: Iterable<PoolPod>,
  ports: readonly number[],
  engineOf: (id: string) => KnownEngine | null,
): PoolMembers {
  const engines: PoolEngine[] = [];
  const unusable: string[] = [];
  let notReady = 0;
  for (const { id, address, isReady, isTerminating, ports: annotated } of pods) {
    if (isTerminating) continue;
    const own = annotated === null ? ports : portsIn(annotated);
    if (own === null) unusable.push(id);
    const used = own ?? ports;
    if (!isReady || address === "") {
      notReady += used.length;
      continue;
    }
    const host = isIPv6(address) ? `[${address}]` : address;
    const known = engineOf(id);
    engines.push({
      id,
      model: known?.model ?? null,
      ranks: ranksOf(known, used.length),
      http: used.map((port) => `${host}:${port}`),
    });
  }
  return { engines, notReady, unusable };
}

/** M2. Behind one port there may be any number. */
function ranksOf(known: KnownEngine | null, portCount: number): PoolEngine["ranks"] {
  if (known !== null && portCount === 1) return known.ranks;
  return Array.from({ length: portCount }, (_, i) => known?.ranks[i] ?? { dpRank: i });
}

/** Null when it is no list of ports. */
function portsIn(written: string): readonly number[] | null {
  const ports = written.split(",").map((one) => one.trim());
  if (ports.length > PORTS_MAX || new Set(ports).size < ports.length) return null;
  const areUsable = ports.every((one) => /^[1-9]\d{0,4}$/.test(one) && Number(one) <= PORT_MAX);
  return areUsable ? ports.map(Number) : null;
}
