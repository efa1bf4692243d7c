import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import fc from "fast-check";
import { afterEach, expect, test } from "vitest";

import { engineEntry } from "../engine/engine-entry.ts";
import { RegistrationFile, RegistrationFileError, type StoredRegistration } from "./registration-file.ts";

const folders: string[] = [];
function folder(): string {
  const made = mkdtempSync(join(tmpdir(), "kvsync-registrations-"));
  folders.push(made);
  return join(made, "state");
}

afterEach(() => {
  for (const made of folders.splice(0)) rmSync(made, { recursive: true, force: true });
});

const plain: StoredRegistration = {
  engine: engineEntry.parse({
    id: "a",
    model: "m",
    endpoint: "tcp://h:1",
    replay_endpoint: "tcp://h:9",
    dp_size: 2,
  }),
  community: null,
};
const rank: StoredRegistration = {
  engine: {
    ...engineEntry.parse({ id: "t/i/dp3", model: "größe", endpoint: "ipc:///tmp/x", report_mode: "full" }),
    ranks: [{ dpRank: 3, endpoint: "ipc:///tmp/x", replayEndpoint: null }],
  },
  community: {
    engineId: "t/i/dp3",
    instance: "i",
    tenant: "t",
    dpRank: 3,
    model: "größe",
    loraName: "",
    type: "vLLM",
    endpoint: "ipc:///tmp/x",
    replayEndpoint: "",
    blockSize: 16,
    additionalSalt: "",
  },
};

async function codeOf(file: RegistrationFile): Promise<string> {
  try {
    await file.read();
    return "read";
  } catch (error) {
    if (error instanceof RegistrationFileError) return error.code;
    throw error;
  }
}

test("what was written last is read again, by whoever comes next; nothing written is nothing to read (F1)", async () => {
  const at = folder();
  expect(await new RegistrationFile(at, "registrations.json").read()).toEqual([]);
  await new RegistrationFile(at, "registrations.json").write([plain, rank]);
  expect(await new RegistrationFile(at, "registrations.json").read()).toEqual([plain, rank]);
  await new RegistrationFile(at, "registrations.json").write([plain]);
  expect(await new RegistrationFile(at, "registrations.json").read()).toEqual([plain]);
  expect(readdirSync(at)).toEqual(["registrations.json"]);
  const file = new RegistrationFile(at, "registrations.json");
  const writings = [[plain], [plain, rank], [], [rank]].map((registrations) => file.write(registrations));
  await Promise.all(writings);
  expect(await file.read()).toEqual([rank]);
});

test("a file that is cut off anywhere, or in which any byte differs, is refused by code (F2)", async () => {
  const file = new RegistrationFile(folder(), "registrations.json");
  await file.write([plain, rank]);
  const whole = readFileSync(file.path);
  await fc.assert(
    fc.asyncProperty(
      fc.nat(whole.length - 2),
      fc.boolean(),
      fc.integer({ min: 1, max: 255 }),
      async (at, isCut, bits) => {
        const damaged = isCut ? whole.subarray(0, at) : Buffer.from(whole);
        if (!isCut) damaged[at] = (damaged[at] ?? 0) ^ bits;
        writeFileSync(file.path, damaged);
        expect(await codeOf(file)).toMatch(/^(not_registrations|other_version|checksum_mismatch)$/);
      },
    ),
    { numRuns: 60 },
  );
});

test("a well-made file of something else is refused and kept aside, and says what was expected where (F2)", async () => {
  const file = new RegistrationFile(folder(), "registrations.json");
  const broken = { engine: { ...plain.engine, ranks: [] }, community: null };
  await file.write([plain, broken]);
  await expect(file.read()).rejects.toMatchObject({
    facts: { code: "malformed_registration", where: "1.engine.ranks", expected: "at least one rank" },
  });
  const written = readFileSync(file.path, "utf8");
  expect(await file.setAside()).toBe(`${file.path}.refused`);
  expect(readFileSync(`${file.path}.refused`, "utf8")).toBe(written);
  expect(await codeOf(file)).toBe("read");
});

test("a pipe in the file's place is refused and put aside, not waited for", async () => {
  const file = new RegistrationFile(folder(), "registrations.json");
  await file.write([]);
  rmSync(file.path);
  execFileSync("mkfifo", [file.path]);
  expect(await codeOf(file)).toBe("not_registrations");
  await file.setAside();
  await file.write([plain]);
  expect(await file.read()).toEqual([plain]);
});

test("a folder that takes no file is named with the system's code", async () => {
  const file = new RegistrationFile("/dev/null/nowhere", "registrations.json");
  await expect(file.write([plain])).rejects.toMatchObject({
    facts: { code: "io_failed", reason: "ENOTDIR" },
  });
});
