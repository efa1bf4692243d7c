/** Settings are for something: each one is read by code beyond its definition. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

import { expect, test } from "vitest";

import { SETTING_ROWS } from "./settings.ts";

const SOURCE = join(import.meta.dirname, "..");

/** The daemon's sources, without the definition of any setting: in its schema its name is a key. */
function uses(): string {
  return readdirSync(SOURCE, { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".ts") && !name.endsWith(".test.ts"))
    .map((name) => {
      const text = readFileSync(join(SOURCE, name), "utf8");
      return name.startsWith("settings") ? text.replaceAll(/^ +\w+: (?=\w+\(|z\n|z\.|\w+,$)/gm, "") : text;
    })
    .join("\n");
}

test("every setting is read somewhere: its name stands in code that does not define it", () => {
  const text = uses();
  const words = new Set(text.match(/\w+/g));
  // A name may be put together, as `${scope}_per_second` is.
  const endings = [...text.matchAll(/\}(_\w+)`/g)].map(([, ending = ""]) => ending);
  const isRead = (name: string): boolean =>
    words.has(name) || endings.some((ending) => name.endsWith(ending));
  const unread = SETTING_ROWS.filter(({ path }) => !isRead(path.at(-1) ?? ""));
  expect(
    unread.map(({ path }) => path.join(".")),
    "settings whose name stands only in their definition",
  ).toEqual([]);
});
