/** The page about the endpoint picker: each of its commands is run, in order, with ports that are free. */
import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { freePort } from "@kvsync/engine-sim";
import { afterAll, expect, test } from "vitest";

import { HAS_ENVOY } from "./envoy-process.ts";
import { PageShell, pageCommands } from "./operator-page.ts";

const ENVOY_FILE = "$CHECKOUT/infra/envoy/envoy.yaml";
const SHIPPED = new URL("../../../infra/envoy/envoy.yaml", import.meta.url);
const hasCurl = spawnSync("curl", ["--version"]).status === 0;
const blocks = pageCommands("endpoint-picker.md");
const shell = new PageShell();
afterAll(async () => {
  // What the page did not end when a command of it failed.
  await shell.run("test ! -e pids || kill $(cat pids) || true", "http://127.0.0.1:7070");
  shell.close();
});

/** The page's ports, each with a free one for it. */
async function portsOf(text: string): Promise<readonly (readonly [string, string])[]> {
  const ports = [...new Set(text.match(/\b(?:910[1-3]|91[12][1-3]|8081|9002|9003|19000|7070)\b/g))];
  return Promise.all(ports.map(async (port) => [port, String(await freePort())] as const));
}

test.skipIf(!HAS_ENVOY || !hasCurl)(
  "each command works as it stands, and the second answer comes from the engine of the first (needs envoy, curl)",
  async () => {
    const loop = /for i in 1 2 3; do([\s\S]*?)done/.exec(blocks[0]?.text ?? "")?.[1] ?? "";
    const unrolled = ["1", "2", "3"].map((i) => loop.replaceAll("$i", i)).join("");
    const shipped = readFileSync(SHIPPED, "utf8");
    const ports = await portsOf([unrolled, ...blocks.map(({ text }) => text), shipped].join("\n"));
    const moved = (text: string): string => ports.reduce((all, [from, to]) => all.replaceAll(from, to), text);
    writeFileSync(join(shell.folder, "envoy.yaml"), moved(shipped));
    const commands = blocks.map(({ text }, i) =>
      moved(i === 0 ? unrolled : text)
        .replaceAll(ENVOY_FILE, "envoy.yaml")
        .replace(
          "picker: {",
          `http: { port: ${moved("7070")} }\npicker: { port: ${moved("9002")}, health_port: ${moved("9003")},`,
        )
        .replace("envoy --config-path", "envoy --use-dynamic-base-id --config-path"),
    );
    expect(blocks.every(({ mode }) => mode?.run === true)).toBe(true);
    const printed: string[] = [];
    for (const command of commands.slice(0, -1))
      printed.push((await shell.run(command, "http://127.0.0.1:7070", 120_000)).stdout);
    for (const i of [1, 2, 3]) expect(printed.at(-1)).toContain(`"engine-${i}"`);
    const { usage } = JSON.parse(printed.at(-2) ?? "") as {
      usage: { prompt_tokens: number; prompt_tokens_details: { cached_tokens: number } };
    };
    expect(usage.prompt_tokens_details.cached_tokens).toBeGreaterThan(usage.prompt_tokens / 2);
    await shell.run(commands.at(-1) ?? "", "http://127.0.0.1:7070");
  },
  240_000,
);
