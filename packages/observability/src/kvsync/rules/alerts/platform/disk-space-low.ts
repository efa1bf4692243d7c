/** Alert: A file system is nearly full. */

import { CLUSTER_METRICS, REAL_DISKS } from "../../../../exporters.ts";
import { panelOf } from "../../../../dashboards/panel.ts";
import { SERVICE } from "../../../dashboards/service.ts";
import { below, max, ratio } from "../../../../promql/operators.ts";
import { value } from "../../../../promql/series.ts";
import { alert } from "../../../../rules/alert.ts";
import { NODE_JOB, THRESHOLDS } from "../../thresholds.ts";
import { steady, TARGET } from "../../trial.ts";

const disks = { job: NODE_JOB, ...REAL_DISKS } as const;
const DISK = { job: NODE_JOB, device: "/dev/vda1", fstype: "ext4", mountpoint: "/" } as const;

/** Its condition, texts, runbook and trial. */
export const DISK_SPACE_LOW = alert({
  name: "DiskSpaceLow",
  when: below(
    ratio(
      max(value(CLUSTER_METRICS.filesystemAvailable, disks), ["cluster", "job", "instance", "mountpoint"]),
      max(value(CLUSTER_METRICS.filesystemSize, disks), ["cluster", "job", "instance", "mountpoint"]),
    ),
    THRESHOLDS.diskFreeRatio,
  ),
  for: "5m",
  severity: "warning",
  component: "platform",
  summary: "A file system is nearly full.",
  description: ({ label, value: share }) =>
    `${share} of ${label("mountpoint")} on ${label("instance")} is free.`,
  panel: panelOf(SERVICE, "disk"),
  runbook: {
    meaning: "Less than a tenth of the file system can still be written.",
    impact: "Logs, metrics and snapshots cannot be written once it is full.",
    diagnosis: [
      {
        text: "How fast does it fill?",
        query: max(value(CLUSTER_METRICS.filesystemAvailable, disks), [
          "cluster",
          "job",
          "instance",
          "mountpoint",
        ]).text,
      },
      { text: "What is large?", command: "du -xh --max-depth=2 MOUNTPOINT | sort -h | tail" },
    ],
    mitigation: [{ cause: "Old metrics or logs.", fix: "Shorten retention, or enlarge the volume." }],
    prevention:
      "Set a retention by size in addition to the one by time, and alert on the trend of the volume.",
    escalation: "Platform on-call.",
  },
  trial: {
    series: (level) => [
      steady(CLUSTER_METRICS.filesystemAvailable, DISK, level * 1e9),
      steady(CLUSTER_METRICS.filesystemSize, DISK, 1e9),
    ],
    fires: 0.09,
    calm: 0.11,
    labels: { cluster: TARGET.cluster, job: NODE_JOB, instance: TARGET.instance, mountpoint: "/" },
    settle: "1m",
  },
});
