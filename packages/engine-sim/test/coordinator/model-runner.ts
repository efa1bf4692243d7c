/** Runs a workload on the model of vLLM's cache. */
import type { KvEvent } from "@kvsync/core";
import type { KvCacheModel, Prompt } from "../../src/coordinator/kv-cache-model.ts";
import type { Answer, Command, WorkPrompt } from "./workload.ts";

/** Numbers of adapters, as an engine gives them in order of registration. */
export function loraIdOf(name: string): number {
  return name.charCodeAt(name.length - 1);
}

/** A prompt as the model takes it. */
export function modelPrompt({ tokens, loraName, cacheSalt }: WorkPrompt): Prompt {
  return { tokens, loraName, cacheSalt, loraId: loraName === null ? null : loraIdOf(loraName) };
}

/** Carries a command out; `publish` and `ask` are the caller's, which wants what they return. */
export function runOnModel(
  model: KvCacheModel,
  command: Exclude<Command, { do: "publish" | "ask" }>,
): Answer {
  switch (command.do) {
    case "start": {
      const { id, prompt, report, stops } = command;
      const hit = model.start({ ...modelPrompt(prompt), id, report }, stops);
      return hit === null ? { computed: -1 } : { hit, computed: model.computedTokens(id) };
    }
    case "advance":
      return { computed: model.advance(command.id, command.count) ? model.computedTokens(command.id) : -1 };
    case "append":
      model.append(command.id, command.tokens);
      return {};
    case "free":
      model.free(command.id);
      return {};
    case "reset":
      model.reset();
      return {};
  }
}

/** The events of a step; null when there are none, and an engine sends nothing. */
export function takeStep(model: KvCacheModel): readonly KvEvent[] | null {
  const events = model.takeEvents();
  return events.length > 0 ? events : null;
}
