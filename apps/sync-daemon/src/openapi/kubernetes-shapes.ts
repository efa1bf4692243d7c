/**
 * Parts of Kubernetes objects that values of the chart take as they are, with every key that they may have.
 *
 *     selector       LabelSelector                      toleration   Toleration
 *     ingressRule    NetworkPolicyIngressRule           affinity     Affinity
 *     egressRule     NetworkPolicyEgressRule            envVar       EnvVar
 *     ingressTls     IngressTLS                         volumeMount  VolumeMount
 *     tlsConfig      TLSConfig of the operator          volume       Volume, but for what is inside its source
 *
 *  KS1  A key that Kubernetes does not define is refused, at every depth but inside the source of a volume (chart-values.test.ts).
 *
 * A misspelt key is worse than a refusal: a selector without `matchLabels` selects every pod. The API server only warns of one, and not
 * every tool shows the warning.
 *
 * Not here: rules between fields, which the API server checks.
 *
 * Source: Kubernetes API reference 1.35; monitoring.coreos.com/v1 of the Prometheus Operator 0.95.
 */

import { z } from "zod";

const text = z.string();
const texts = z.array(text);
const labels = z.record(text, text);
const count = z.int().min(0);

/** Of labels. */
const requirement = z
  .strictObject({ key: text, operator: z.enum(["In", "NotIn", "Exists", "DoesNotExist"]), values: texts })
  .partial({ values: true });

/** Which objects, by their labels. */
export const selector = z
  .strictObject({ matchLabels: labels, matchExpressions: z.array(requirement) })
  .partial();

const peers = z.array(
  z
    .strictObject({
      podSelector: selector,
      namespaceSelector: selector,
      ipBlock: z.strictObject({ cidr: text, except: texts }).partial({ except: true }),
    })
    .partial(),
);
const ports = z.array(
  z
    .strictObject({
      protocol: z.enum(["TCP", "UDP", "SCTP"]),
      port: z.union([z.int().min(1).max(65_535), text]),
      endPort: z.int().min(1).max(65_535),
    })
    .partial(),
);

/** Who may connect. */
export const ingressRule = z.strictObject({ from: peers, ports }).partial();

/** Where to. */
export const egressRule = z.strictObject({ to: peers, ports }).partial();

/** A certificate of host names. */
export const ingressTls = z.strictObject({ hosts: texts, secretName: text }).partial();

/** A taint that a pod stands. */
export const toleration = z
  .strictObject({
    key: text,
    operator: z.enum(["Equal", "Exists", "Gt", "Lt"]),
    value: text,
    effect: z.enum(["NoSchedule", "PreferNoSchedule", "NoExecute"]),
    tolerationSeconds: z.int(),
  })
  .partial();

const nodeRequirements = z.array(
  z
    .strictObject({
      key: text,
      operator: z.enum(["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"]),
      values: texts,
    })
    .partial({ values: true }),
);
const nodeTerm = z
  .strictObject({ matchExpressions: nodeRequirements, matchFields: nodeRequirements })
  .partial();
const podTerm = z
  .strictObject({
    labelSelector: selector,
    matchLabelKeys: texts,
    mismatchLabelKeys: texts,
    namespaceSelector: selector,
    namespaces: texts,
    topologyKey: text,
  })
  .partial()
  .required({ topologyKey: true });
const podAffinity = z
  .strictObject({
    requiredDuringSchedulingIgnoredDuringExecution: z.array(podTerm),
    preferredDuringSchedulingIgnoredDuringExecution: z.array(
      z.strictObject({ weight: count, podAffinityTerm: podTerm }),
    ),
  })
  .partial();

/** Which nodes, by their labels and by the pods on them. */
export const affinity = z
  .strictObject({
    nodeAffinity: z
      .strictObject({
        requiredDuringSchedulingIgnoredDuringExecution: z.strictObject({
          nodeSelectorTerms: z.array(nodeTerm),
        }),
        preferredDuringSchedulingIgnoredDuringExecution: z.array(
          z.strictObject({ weight: count, preference: nodeTerm }),
        ),
      })
      .partial(),
    podAffinity,
    podAntiAffinity: podAffinity,
  })
  .partial();

/** A key of a Secret or a ConfigMap. */
const keyRef = z
  .strictObject({ name: text, key: text, optional: z.boolean() })
  .partial({ name: true, optional: true });

/** A variable of the environment. */
export const envVar = z
  .strictObject({
    name: text.min(1),
    value: text,
    valueFrom: z
      .strictObject({
        fieldRef: z.strictObject({ apiVersion: text, fieldPath: text }).partial({ apiVersion: true }),
        resourceFieldRef: z
          .strictObject({ containerName: text, resource: text, divisor: z.union([text, z.number()]) })
          .partial({ containerName: true, divisor: true }),
        configMapKeyRef: keyRef,
        secretKeyRef: keyRef,
        fileKeyRef: z
          .strictObject({ volumeName: text, path: text, key: text, optional: z.boolean() })
          .partial({ optional: true }),
      })
      .partial(),
  })
  .partial({ value: true, valueFrom: true });

/** Where a volume is in the container. */
export const volumeMount = z
  .strictObject({
    name: text.min(1),
    mountPath: text.min(1),
    mountPropagation: z.enum(["None", "HostToContainer", "Bidirectional"]),
    readOnly: z.boolean(),
    recursiveReadOnly: text,
    subPath: text,
    subPathExpr: text,
  })
  .partial()
  .required({ name: true, mountPath: true });

/** What is inside belongs to the driver, or changes with each version of Kubernetes. */
const source = z.looseObject({});

/** Kinds of volumes, as the API reference lists them. */
const VOLUME_KINDS = [
  "awsElasticBlockStore",
  "azureDisk",
  "azureFile",
  "cephfs",
  "cinder",
  "configMap",
  "csi",
  "downwardAPI",
  "emptyDir",
  "ephemeral",
  "fc",
  "flexVolume",
  "flocker",
  "gcePersistentDisk",
  "gitRepo",
  "glusterfs",
  "hostPath",
  "image",
  "iscsi",
  "nfs",
  "persistentVolumeClaim",
  "photonPersistentDisk",
  "portworxVolume",
  "projected",
  "quobyte",
  "rbd",
  "scaleIO",
  "secret",
  "storageos",
  "vsphereVolume",
] as const;

/** A volume of any kind. */
export const volume = z.strictObject({
  name: text.min(1),
  ...Object.fromEntries(VOLUME_KINDS.map((kind) => [kind, source.optional()])),
});

const secretOrConfigMap = z.strictObject({ secret: keyRef, configMap: keyRef }).partial();

/** How Prometheus checks the daemon's certificate, and shows its own. */
export const tlsConfig = z
  .strictObject({
    ca: secretOrConfigMap,
    cert: secretOrConfigMap,
    keySecret: keyRef,
    caFile: text,
    certFile: text,
    keyFile: text,
    serverName: text,
    insecureSkipVerify: z.boolean(),
    minVersion: z.enum(["TLS10", "TLS11", "TLS12", "TLS13"]),
    maxVersion: z.enum(["TLS10", "TLS11", "TLS12", "TLS13"]),
  })
  .partial();
