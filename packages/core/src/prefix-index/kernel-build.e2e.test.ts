/** The committed kernel is the one that its sources make: the build runs again and compares. */
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { describe, expect, it } from "vitest";

const BUILD = fileURLToPath(new URL("../../kernel/build.mjs", import.meta.url));

describe("the kernel", () => {
  it("is committed as its sources make it", async () => {
    const run = promisify(execFile)(process.execPath, [BUILD, "--check"]);
    await expect(run).resolves.toMatchObject({ stderr: "" });
  });
});
