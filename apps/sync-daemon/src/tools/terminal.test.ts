/** The output for a terminal: colors for people, and no control characters from names. */
import { expect, test } from "vitest";

import { isoTime, Terminal } from "./terminal.ts";

function written(isTTY: boolean, use: (terminal: Terminal) => void): { out: string; err: string } {
  const texts = { out: "", err: "" };
  const into = (name: "out" | "err") => ({
    isTTY,
    write: (text: string) => {
      texts[name] += text;
    },
  });
  use(new Terminal(into("out"), into("err"), {}));
  return texts;
}

/** Clears the screen, sets the title, begins a line of its own, turns the text round, and ends with a half of a character. */
const HOSTILE = "\u001b[2J\u001b]0;title\u0007\r\nmodel\u202e\u2028\u009b31m\ud800";
const SHOWN = "\\u001b[2J\\u001b]0;title\\u0007\\u000d\\u000amodel\\u202e\\u2028\\u009b31m\\ud800";

test.each([[true], [false]])(
  "names are shown and not obeyed, in lines, tables and notes (terminal: %s)",
  (isTTY) => {
    const { out, err } = written(isTTY, (terminal) => {
      terminal.line(HOSTILE);
      terminal.line({ text: `${HOSTILE} late`, style: "red", painted: 3 });
      terminal.table(["model"], [[HOSTILE]]);
      terminal.note(`first\nsecond ${HOSTILE}`);
    });
    const plain = (text: string) => text.replaceAll(/\u001b\[\d+m/g, "");
    expect(plain(out)).toBe(`${SHOWN}\n${SHOWN} late\nmodel\n${SHOWN}\n`);
    expect(err).toBe(`first\nsecond ${SHOWN.replace("\\u000a", "\n")}\n`);
  },
);

test("JSON for scripts is not obeyed by the terminal that shows it either, and parses to the very same names", () => {
  // Ends with a letter of a language tag, which is invisible and beyond the first 65,536.
  const name = `${HOSTILE}\u{e0041}`;
  const { out } = written(true, (terminal) => {
    terminal.json({ [name]: name });
  });
  expect(out).toMatch(/^[ -~]+\n$/);
  expect(JSON.parse(out)).toEqual({ [name]: name });
});

test("columns are as wide as what is shown", () => {
  const { out } = written(false, (terminal) => {
    terminal.table(["a", "b"], [["\u0007", "x"]]);
  });
  expect(out).toBe("a       b\n\\u0007  x\n");
});

test("a line is painted as far as it says, on a terminal alone", () => {
  const line = { text: "ok  engine", style: "green", painted: 2 } as const;
  expect(
    written(true, (terminal) => {
      terminal.line(line);
    }).out,
  ).toBe("\u001b[32mok\u001b[39m  engine\n");
  expect(
    written(false, (terminal) => {
      terminal.line(line);
    }).out,
  ).toBe("ok  engine\n");
});

test("a time that is none does not end the tool", () => {
  expect(isoTime(0)).toBe("1970-01-01T00:00:00.000Z");
  for (const time of [Number.NaN, 1e300, -1e17]) expect(isoTime(time)).toBe("(no time)");
});
