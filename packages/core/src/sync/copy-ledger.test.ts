/** The ledger by itself: open names and the bound. odd-events.test.ts tests it with an index. */
import fc from "fast-check";
import { expect, test } from "vitest";

import { CopyLedger, LEDGER_NAMES_MAX } from "./copy-ledger.ts";

const NAMES = 4;

test("a name is open while it has uncertain copies and no certain one, and the count is that of the open names (L2)", () => {
  const step = fc.tuple(
    fc.constantFrom("store", "repeat", "remove"),
    fc.nat({ max: NAMES - 1 }),
    fc.constantFrom(0, 4096),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const ledger = new CopyLedger();
      /** "slot:name" → certain and uncertain copies, by the table of copy-ledger.ts. */
      const copies = new Map<string, { certain: number; uncertain: number }>();
      for (const [kind, name, slot] of steps) {
        const key = `${slot}:${name}`;
        const held = copies.get(key) ?? { certain: 0, uncertain: 0 };
        copies.set(key, held);
        if (kind === "repeat") {
          expect(ledger.note(slot, name, 7, held.certain > 0)).toBe(true);
          held.uncertain += 1;
        } else if (kind === "store") {
          ledger.stored(slot, name, 7);
          held.certain += 1;
        } else if (held.certain > 0) {
          held.certain -= 1;
          if (held.certain === 0) ledger.lastRemoved(slot, name, 7);
        } else {
          expect(ledger.missingRemoved(slot, name, 7)).toBe(held.uncertain > 0);
          held.uncertain = Math.max(0, held.uncertain - 1);
        }
        const isOpen = ({ certain, uncertain }: typeof held): boolean => certain === 0 && uncertain > 0;
        expect(ledger.openCount).toBe([...copies.values()].filter(isOpen).length);
        expect(ledger.isOpen(slot, name, 7)).toBe(isOpen(held));
        expect(ledger.isOpen(slot, name, 8)).toBe(false);
      }
    }),
  );
});

test("names beyond the bound are not counted, and `note` says so (L3)", () => {
  const ledger = new CopyLedger();
  for (let name = 0; name < LEDGER_NAMES_MAX; name++) expect(ledger.note(0, name, 0, false)).toBe(true);
  expect(ledger.note(0, LEDGER_NAMES_MAX, 0, false)).toBe(false);
  expect([ledger.openCount, ledger.isOpen(0, LEDGER_NAMES_MAX, 0)]).toEqual([LEDGER_NAMES_MAX, false]);
  expect(ledger.note(0, 0, 0, false)).toBe(true);
});
