import { describe, expect, it } from "vitest";

import { describeFault, type FaultKind, parseFault } from "./fault-plan.ts";

describe("a fault's description", () => {
  it("is a value, with or without the share of the workload at which it strikes", () => {
    expect(parseFault("stall_subscriber", "2.5")).toEqual({
      kind: "stall_subscriber",
      at: 0.3,
      seconds: 2.5,
    });
    expect(parseFault("restart_engines", "3@20")).toEqual({ kind: "restart_engines", at: 0.2, count: 3 });
    expect(parseFault("truncate_history", "0@90%")).toEqual({ kind: "truncate_history", at: 0.9, keep: 0 });
    expect(parseFault("kill_daemon", "")).toEqual({ kind: "kill_daemon", at: 0.6 });
    expect(parseFault("kill_daemon", "25")).toEqual({ kind: "kill_daemon", at: 0.25 });
    expect(parseFault("kill_daemon", "@25%")).toEqual({ kind: "kill_daemon", at: 0.25 });
  });

  it("is refused by naming the option and what it expects", () => {
    const wrong: readonly [FaultKind, string, string][] = [
      ["stall_subscriber", "", "--stall-subscriber"],
      ["stall_subscriber", "0", "--stall-subscriber"],
      ["stall_subscriber", "1@2@3", "--stall-subscriber"],
      ["restart_engines", "1.5", "--restart-engines"],
      ["restart_engines", "2@101", "--restart-engines"],
      ["restart_engines", "two", "--restart-engines"],
      ["kill_daemon", "soon", "--kill-daemon"],
      ["truncate_history", "-1", "--truncate-history"],
    ];
    for (const [kind, text, option] of wrong) {
      expect(() => parseFault(kind, text)).toThrow(
        expect.objectContaining({
          facts: expect.objectContaining({ option, actual: text }) as unknown,
        }) as Error,
      );
    }
  });

  it("can be said in words", () => {
    expect(describeFault(parseFault("restart_engines", "1"))).toBe("1 engine restarted");
    expect(describeFault(parseFault("restart_engines", "2"))).toBe("2 engines restarted");
  });
});
