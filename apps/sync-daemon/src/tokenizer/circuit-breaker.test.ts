import fc from "fast-check";
import { expect, test } from "vitest";

import { CircuitBreaker } from "./circuit-breaker.ts";

function breaker(failures = 3, openMs = 1000): { circuit: CircuitBreaker; at: (ms: number) => void } {
  let now = 0;
  const circuit = new CircuitBreaker({ failures, openMs }, () => now);
  return {
    circuit,
    at: (ms) => {
      now = ms;
    },
  };
}

function fail(circuit: CircuitBreaker, times: number): void {
  for (let i = 0; i < times; i++) circuit.failed(circuit.enter() ?? -1);
}

test("failures in a row open it, and a success in between starts the count again", () => {
  const { circuit } = breaker();
  fail(circuit, 2);
  circuit.succeeded(circuit.enter() ?? -1);
  fail(circuit, 2);
  expect(circuit.state).toBe("closed");
  fail(circuit, 1);
  expect(circuit.state).toBe("open");
  expect(circuit.enter()).toBeNull();
});

test("after its time one request tries, and only one; its success closes, its failure opens for as long again (C1)", () => {
  const { circuit, at } = breaker();
  fail(circuit, 3);
  at(999);
  expect(circuit.enter()).toBeNull();
  at(1000);
  const trial = circuit.enter();
  expect(trial).not.toBeNull();
  expect(circuit.state).toBe("half_open");
  expect(circuit.enter()).toBeNull();
  circuit.failed(trial ?? -1);
  expect(circuit.state).toBe("open");
  at(1999);
  expect(circuit.enter()).toBeNull();
  at(2000);
  circuit.succeeded(circuit.enter() ?? -1);
  expect(circuit.state).toBe("closed");
});

test("requests from before the circuit opened neither close it nor keep it open (C2)", () => {
  const { circuit, at } = breaker(1);
  const [early, other] = [circuit.enter() ?? -1, circuit.enter() ?? -1];
  fail(circuit, 1);
  circuit.succeeded(early);
  expect(circuit.state).toBe("open");
  at(1000);
  const trial = circuit.enter() ?? -1;
  circuit.failed(other);
  expect(circuit.state).toBe("half_open");
  circuit.succeeded(trial);
  expect(circuit.state).toBe("closed");
});

test("whatever happens, half open lets nothing through, and an open circuit lets one through once its time is over", () => {
  const step = fc.record({ wait: fc.nat(400), ends: fc.constantFrom("well", "badly", "later") });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const { circuit, at } = breaker(2, 300);
      const pending: number[] = [];
      let now = 0;
      let openedAt = -Infinity;
      for (const { wait, ends } of steps) {
        now += wait;
        at(now);
        const before = circuit.state;
        const ticket = circuit.enter();
        if (before === "half_open") expect(ticket).toBeNull();
        if (before === "open") expect(ticket !== null).toBe(now >= openedAt + 300);
        if (before === "closed") expect(ticket).not.toBeNull();
        if (ticket !== null && ends === "later") pending.push(ticket);
        const ended = ends === "later" ? undefined : (ticket ?? pending.shift());
        if (ended === undefined) continue;
        const was = circuit.state;
        if (ends === "well") circuit.succeeded(ended);
        else circuit.failed(ended);
        if (was !== "open" && circuit.state === "open") openedAt = now;
      }
    }),
  );
});
