/**
 * How a pod becomes an engine: the typed description that settings and presets fill, and that
 * pod-reading.ts applies. It holds no state.
 *
 *     preset (presets.ts) ◀─ what the settings give goes before ─▶ PodRule ─▶ readPod(object, rule)
 */

import type { Settings } from "../../settings/settings.ts";
import {
  kubernetesSection,
  modelSource,
  type ModelSource,
  type PresetName,
} from "../../settings/kubernetes-settings.ts";
import { type PortRule, type Preset, PRESETS } from "./presets.ts";

/** See the head of this file. */
export interface PodRule {
  /** Label selector of the pods that publish; null for every pod that the sources name. */
  readonly enabledBy: string | null;
  /** Best first. */
  readonly modelFrom: readonly ModelSource[];
  readonly events: PortRule;
  readonly replay: PortRule;
  /** The engine's HTTP API. */
  readonly http: PortRule;
  /** DP ranks of a pod that does not say; null for as many as its pool has ports, or one. */
  readonly dpSize: number | null;
  /** Label with the engine's type, a hint; null for none. */
  readonly typeLabel: string | null;
  readonly onlyReady: boolean;
  /** Workers over several pods; null when each pod is one. */
  readonly group: GroupRule | null;
}

/** How the pods of one worker are known. */
export interface GroupRule {
  /** Label with a value of its own for each worker. */
  readonly label: string;
  /** Label with the pod's place in its worker, from 0. */
  readonly indexLabel: string;
  /** Whether each pod publishes its ranks, or the first one all there is. */
  readonly publishing: "all" | "first";
  /** Whether a rank's port is the base port + its number over the whole worker, or in its pod. */
  readonly rankPorts: "global" | "local";
}

/**
 * The rule that the settings describe.
 *
 * @param settings - section `discovery.kubernetes`.
 * @returns the preset with what they give in place of its own.
 */
export function ruleOf(settings: Settings["discovery"]["kubernetes"]): PodRule {
  const preset: Preset = PRESETS[settings.preset];
  const given = settings.model_from.map(modelSource).filter((source) => source !== null);
  return {
    enabledBy: settings.enabled_by ?? preset.enabledBy,
    modelFrom: given.length === 0 ? preset.modelFrom : given,
    events: {
      name: settings.events_port_name ?? preset.events.name,
      number: settings.events_port ?? preset.events.number,
    },
    replay: {
      name: settings.replay_port_name ?? preset.replay.name,
      number: settings.replay_port ?? preset.replay.number,
    },
    http: {
      name: settings.http_port_name ?? preset.http.name,
      number: settings.http_port ?? preset.http.number,
    },
    dpSize: settings.dp_size,
    typeLabel: preset.typeLabel,
    onlyReady: settings.only_ready === true,
    group:
      settings.group.label === null
        ? null
        : {
            label: settings.group.label,
            indexLabel: settings.group.index_label,
            publishing: settings.group.publishing,
            rankPorts: settings.group.rank_ports,
          },
  };
}

/**
 * The rule of a preset, as it is without any setting.
 *
 * @param name - of the preset.
 * @returns the rule.
 */
export function presetRule(name: PresetName): PodRule {
  return ruleOf(kubernetesSection.parse({ preset: name }));
}
