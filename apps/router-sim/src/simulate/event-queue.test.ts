import fc from "fast-check";
import { expect, it } from "vitest";

import { EventQueue } from "./event-queue.ts";

it("gives events back by time, and those of one time in the order in which they were planned", () => {
  const operations = fc.array(fc.option(fc.nat({ max: 9 }), { freq: 3, nil: null }), { maxLength: 400 });
  fc.assert(
    fc.property(operations, (plans) => {
      const queue = new EventQueue();
      let expected: { at: number; subject: number }[] = [];
      for (const [subject, at] of plans.entries()) {
        if (at !== null) {
          queue.plan(at, subject);
          expected.push({ at, subject });
          expected = expected.toSorted((a, b) => a.at - b.at || a.subject - b.subject);
        } else {
          expect(queue.nextAt).toBe(expected[0]?.at ?? Number.POSITIVE_INFINITY);
          expect(queue.take()).toBe(expected.shift()?.subject ?? -1);
        }
        expect(queue.size).toBe(expected.length);
      }
    }),
  );
});
