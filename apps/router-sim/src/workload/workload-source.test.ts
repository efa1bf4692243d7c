import { describe, expect, it } from "vitest";

import { TraceError, type TraceFacts } from "../trace/request.ts";
import { openWorkload, parseWorkloadSource } from "./workload-source.ts";

function refusal(text: string): TraceFacts {
  try {
    parseWorkloadSource(text);
  } catch (error) {
    if (error instanceof TraceError) return error.facts;
    throw error;
  }
  throw new Error(`${text} was accepted`);
}

describe("a workload's text", () => {
  it("names a generated kind, with its usual size or another", () => {
    expect(parseWorkloadSource("agents")).toMatchObject({
      name: "agents",
      origin: { kind: "sessions", sessions: "agents", requests: 12_000, rate: 10, arrivalCv: 1 },
      factors: { speedup: 1, jitter: 0, duplicate: 1, length: 1, lora: 0 },
    });
    expect(parseWorkloadSource("no-reuse,arrival-cv=3,requests=5,length=0.25,lora=7")).toMatchObject({
      origin: { requests: 5, arrivalCv: 3 },
      factors: { length: 0.25, lora: 7 },
    });
  });

  it("is a path when it has a slash or ends in .jsonl, and reports call it by the file's name", () => {
    expect(parseWorkloadSource("/data/toolagent_trace.jsonl,speedup=2")).toMatchObject({
      name: "toolagent_trace.jsonl,speedup=2",
      origin: { kind: "trace", path: "/data/toolagent_trace.jsonl", requestsMax: null },
      factors: { speedup: 2 },
    });
    expect(parseWorkloadSource("./chat").origin).toMatchObject({ kind: "trace" });
  });

  it("refuses what it does not know, by name, and says what it expects", () => {
    expect(refusal("chats")).toMatchObject({ code: "workload_unknown", actual: "chats" });
    expect(refusal("")).toMatchObject({ code: "workload_unknown" });
    for (const [text, setting] of [
      ["chat,minutes=3", "minutes=3"],
      ["conversation,rate=3", "rate=3"],
      ["conversation,scale=2", "scale"],
      ["a.jsonl,rate=3", "rate=3"],
      ["chat,rate", "rate"],
      ["chat,rate=0", "rate"],
      ["chat,rate=", "rate"],
      ["chat,requests=1.5", "requests"],
      ["chat,length=3", "length"],
      ["chat,length=0.015625", "length"],
      ["chat,lora=2,lora=3", "lora"],
    ] as const) {
      expect(refusal(text)).toMatchObject({ code: "workload_setting_wrong", setting });
    }
  });

  it("says so when a trace is not there", async () => {
    await expect(openWorkload(parseWorkloadSource("./absent.jsonl"), 1)).rejects.toMatchObject({
      facts: { code: "trace_unreadable" },
    });
  });
});
