/**
 * Objects of Kubernetes that run one program: its workload, its Service, its configuration, its policy. These functions make all
 * programs of the stack: each has a probe, a limit of memory, and no more rights than it needs.
 *
 *     Program ─┬─▶ ConfigMap NAME          its files
 *              ├─▶ Deployment │ StatefulSet (with a claim) │ DaemonSet
 *              ├─▶ Service NAME            and further names for some of its ports
 *              └─▶ NetworkPolicy NAME      who reaches which port
 *
 *  K1  Every container has a read-only root, drops all capabilities, and has a limit of memory (cluster.test.ts).
 *
 * It has no facts of a program: those are in cluster.ts.
 *
 * Source: Kubernetes API reference, apps/v1, v1, networking.k8s.io/v1.
 */

import { createHash } from "node:crypto";

/** An object, as it is written to a file. */
export interface ClusterObject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace: string; readonly [field: string]: unknown };
  readonly [field: string]: unknown;
}

/** Who may connect to a program's ports: pods of its own namespace by label, and whole namespaces. */
interface Callers {
  readonly ports: readonly string[];
  /** Names of programs in the same namespace; `null` for all pods in it. */
  readonly programs: readonly string[] | null;
  /** `null` for all of the cluster. */
  readonly namespaces?: readonly string[] | null;
}

/** One program. */
export interface Program {
  readonly name: string;
  readonly namespace: string;
  readonly image: string;
  readonly args?: readonly string[];
  readonly env?: readonly object[];
  readonly ports: Readonly<Record<string, number>>;
  /** Of its readiness probe, by the name of a port. */
  readonly health: readonly [port: string, path: string];
  /** Files by name, and the folder that they are mounted at. */
  readonly files?: { readonly folder: string; readonly texts: Readonly<Record<string, string>> };
  /** A claim. Without it, a folder that does not outlive the pod. */
  readonly data?: { readonly folder: string; readonly size: string | null };
  readonly memory: string;
  readonly user: number;
  /** An account with rights, whose token is mounted. */
  readonly account?: boolean;
  /** A pod on each node. */
  readonly everyNode?: boolean;
  readonly volumes?: readonly object[];
  readonly mounts?: readonly object[];
  /** Names of Services, each with its ports. */
  readonly services: Readonly<Record<string, readonly string[]>>;
  readonly callers: readonly Callers[];
}

const LABEL = "app.kubernetes.io/name";
/** Its name does not appear in a pod's own paths. */
const FILES = "files";
const DATA = "data";

/**
 * The objects of one program.
 *
 * @param program - what runs.
 * @returns in the order in which they are applied.
 */
export function programObjects(program: Program): readonly ClusterObject[] {
  const { name, files } = program;
  return [
    ...(files === undefined
      ? []
      : [{ ...head(program, "v1", "ConfigMap", name), data: { ...files.texts } } satisfies ClusterObject]),
    workload(program),
    ...Object.entries(program.services).map(([service, ports]) => ({
      ...head(program, "v1", "Service", service),
      spec: {
        selector: { [LABEL]: name },
        // Spans of one trace go to one pod, where there are several.
        ...(program.everyNode === true ? { sessionAffinity: "ClientIP" } : {}),
        ports: ports.map((port) => ({ name: port, port: program.ports[port], targetPort: port })),
      },
    })),
    policy(program),
  ];
}

function head({ namespace }: Program, apiVersion: string, kind: string, name: string): ClusterObject {
  return { apiVersion, kind, metadata: { name, namespace, labels: { [LABEL]: name } } };
}

function workload(program: Program): ClusterObject {
  const { name, data, everyNode = false } = program;
  const hasClaim = data !== undefined && data.size !== null;
  const single = hasClaim ? "StatefulSet" : "Deployment";
  const kind = everyNode ? "DaemonSet" : single;
  const own = {
    DaemonSet: {},
    // Two of them would write one claim, or hold two halves of the traces.
    Deployment: { replicas: 1, strategy: { type: "Recreate" } },
    StatefulSet: {
      replicas: 1,
      serviceName: name,
      volumeClaimTemplates: [
        {
          metadata: { name: DATA },
          spec: { accessModes: ["ReadWriteOnce"], resources: { requests: { storage: data?.size } } },
        },
      ],
    },
  }[kind];
  return {
    ...head(program, "apps/v1", kind, name),
    spec: { ...own, selector: { matchLabels: { [LABEL]: name } }, template: podTemplate(program, hasClaim) },
  };
}

function podTemplate(program: Program, hasClaim: boolean): object {
  const { name, files, data, user, account = false, everyNode = false } = program;
  return {
    metadata: {
      labels: { [LABEL]: name },
      // No program of these reads a changed file by itself.
      ...(files === undefined ? {} : { annotations: { "checksum/files": checksum(files.texts) } }),
    },
    spec: {
      ...(account ? { serviceAccountName: name } : {}),
      automountServiceAccountToken: account,
      enableServiceLinks: false,
      securityContext: {
        runAsUser: user,
        runAsNonRoot: user !== 0,
        fsGroup: user,
        seccompProfile: { type: "RuntimeDefault" },
      },
      ...(everyNode ? { tolerations: [{ operator: "Exists" }] } : {}),
      containers: [container(program)],
      volumes: [
        ...(files === undefined ? [] : [{ name: FILES, configMap: { name } }]),
        ...(data === undefined || hasClaim ? [] : [{ name: DATA, emptyDir: {} }]),
        ...(program.volumes ?? []),
      ],
    },
  };
}

function container(program: Program): object {
  const { name, image, args, env, ports, health, files, data, memory } = program;
  const [port, path] = health;
  return {
    name,
    image,
    ...(args === undefined ? {} : { args }),
    ...(env === undefined ? {} : { env }),
    ports: Object.entries(ports).map(([one, containerPort]) => ({ name: one, containerPort })),
    readinessProbe: { httpGet: { path, port }, periodSeconds: 10 },
    resources: { requests: { cpu: "50m", memory }, limits: { memory } },
    securityContext: {
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ["ALL"] },
    },
    volumeMounts: [
      ...(files === undefined ? [] : [{ name: FILES, mountPath: files.folder, readOnly: true }]),
      ...(data === undefined ? [] : [{ name: DATA, mountPath: data.folder }]),
      ...(program.mounts ?? []),
    ],
  };
}

function policy(program: Program): ClusterObject {
  const { name, callers } = program;
  return {
    ...head(program, "networking.k8s.io/v1", "NetworkPolicy", name),
    spec: {
      podSelector: { matchLabels: { [LABEL]: name } },
      policyTypes: ["Ingress"],
      ingress: callers.map(({ ports, programs, namespaces = [] }) => ({
        from: [
          ...(programs === null
            ? [{ podSelector: {} }]
            : programs.map((one) => ({ podSelector: { matchLabels: { [LABEL]: one } } }))),
          ...(namespaces === null
            ? [{ namespaceSelector: {} }]
            : namespaces.map((one) => ({
                namespaceSelector: { matchLabels: { "kubernetes.io/metadata.name": one } },
              }))),
        ],
        ports: ports.map((port) => ({ protocol: "TCP", port })),
      })),
    },
  };
}

function checksum(texts: Readonly<Record<string, string>>): string {
  return createHash("sha256").update(JSON.stringify(texts)).digest("hex").slice(0, 16);
}
