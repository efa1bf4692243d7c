/**
 * The owner of a folder: one process at a time, until its end. L1 and L3 to L6 of folder-claim.ts; L2 needs processes that are
 * killed and frozen (test/folder-claim.e2e.test.ts).
 */
import { mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterEach, beforeEach, expect, test } from "vitest";

import { FolderClaims, folderHeld, FolderHeldError } from "./folder-claim.ts";

const URL_OF_FIRST = "http://127.0.0.1:7070";

let base = "";
let folder = "";
let first: FolderClaims;
let second: FolderClaims;

beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), "kvsync-claim-"));
  folder = join(base, "state");
  first = new FolderClaims(URL_OF_FIRST);
  second = new FolderClaims(null);
});
afterEach(() => {
  for (const claims of [first, second]) claims.release();
  rmSync(base, { recursive: true, force: true });
});

async function refusal(claims: FolderClaims, of: string): Promise<FolderHeldError> {
  const error = await claims.take("snapshot.directory", of).then(
    (reason) => reason,
    (thrown: unknown) => thrown,
  );
  if (!(error instanceof FolderHeldError)) throw new Error(`not refused: ${String(error)}`);
  return error;
}

/** A socket on which nobody listens, as a killed process leaves it. */
async function leaveDeadSocket(path: string): Promise<void> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(`${path}.live`, resolve));
  // Its name goes with the server; the file stays under another one.
  renameSync(`${path}.live`, path);
  await new Promise((resolve) => server.close(resolve));
}

test("the second owner is refused with the folder, the first one's process, start and address, and what to do (L1)", async () => {
  expect(await first.take("snapshot.directory", folder)).toBeNull();
  const { facts, message } = await refusal(second, folder);
  expect(facts).toMatchObject({ code: "folder_held", setting: "snapshot.directory", folder });
  expect(facts.owner).toMatchObject({ pid: process.pid, http: URL_OF_FIRST });
  const started = Date.parse(facts.owner?.started ?? "");
  expect(Math.abs(started - performance.timeOrigin)).toBeLessThan(2);
  expect(message).toContain(`snapshot.directory: ${folder} is used by process ${process.pid} of host `);
  expect(message).toMatch(/at http:\/\/127\.0\.0\.1:7070\. End that process, or give this daemon a folder/);
  first.listens("http://127.0.0.1:1234");
  expect((await folderHeld("snapshot.directory", folder))?.facts.owner?.http).toBe("http://127.0.0.1:1234");
});

test("a folder that two settings name, also by another path, has one claim of its owner", async () => {
  mkdirSync(folder);
  symlinkSync(folder, join(base, "other"));
  expect(await first.take("discovery.state_directory", folder)).toBeNull();
  expect(await first.take("snapshot.directory", join(base, "other"))).toBeNull();
  await refusal(second, join(base, "other"));
});

test("a socket that a killed process left is replaced, whatever its facts say (L2)", async () => {
  mkdirSync(folder);
  await leaveDeadSocket(join(folder, "owner.sock"));
  writeFileSync(join(folder, "owner.json"), '{"id":"gone","pid":1,"host":"h","started":"s","http":null}');
  expect(await folderHeld("snapshot.directory", folder)).toBeNull();
  expect(await first.take("snapshot.directory", folder)).toBeNull();
  expect((await refusal(second, folder)).facts.owner?.pid).toBe(process.pid);
  expect(readdirSync(folder).sort()).toEqual(["owner.json", "owner.sock"]);
});

test("of eight that come at once to what a killed process left, one owns the folder (L1)", async () => {
  mkdirSync(folder);
  await leaveDeadSocket(join(folder, "owner.sock"));
  const all = Array.from({ length: 8 }, () => new FolderClaims(null));
  const taken = await Promise.allSettled(all.map((one) => one.take("snapshot.directory", folder)));
  const lost = all.map((one) => one.whyLost());
  expect(taken.filter(({ status }, i) => status === "fulfilled" && lost[i] === null)).toHaveLength(1);
  for (const one of all) one.release();
});

test("a path of 300 bytes is claimed, refused and given back as a short one is (L3)", async () => {
  const long = join(folder, "a".repeat(150), "b".repeat(150));
  expect(await first.take("snapshot.directory", long)).toBeNull();
  expect((await refusal(second, long)).message).toContain(long);
  expect(await folderHeld("snapshot.directory", long)).not.toBeNull();
  first.release();
  expect(readdirSync(long)).toEqual([]);
  expect(await second.take("snapshot.directory", long)).toBeNull();
});

test("one that another machine takes over is told so, and owns it again when that one has ended (L4)", async () => {
  expect(await first.take("snapshot.directory", folder)).toBeNull();
  // What a volume shows another machine: the name of a socket that refuses everyone.
  rmSync(join(folder, "owner.sock"));
  await leaveDeadSocket(join(folder, "owner.sock"));
  expect(first.whyLost()).toBeNull();
  expect(await second.take("snapshot.directory", folder)).toBeNull();
  expect(first.whyLost()).toMatch(`${folder} was taken over by process ${process.pid} of host `);
  expect(second.whyLost()).toBeNull();
  second.release();
  expect(first.whyLost()).toBeNull();
});

test("one that lost the folder takes nothing of the new owner's with it (L6)", async () => {
  expect(await first.take("snapshot.directory", folder)).toBeNull();
  rmSync(join(folder, "owner.sock"));
  expect(await second.take("snapshot.directory", folder)).toBeNull();
  first.listens("http://127.0.0.1:9");
  first.release();
  const held = await folderHeld("snapshot.directory", folder);
  expect(held?.facts.owner?.http).toBeNull();
  expect(second.whyLost()).toBeNull();
});

test("a folder that cannot be made or takes no socket has the reason, and is used without a claim (L5)", async () => {
  writeFileSync(folder, "no folder");
  expect(await first.take("snapshot.directory", folder)).toMatch(/ENOTDIR/);
  expect(await first.take("snapshot.directory", "/proc/self/fd")).toMatch(
    /EACCES|EPERM|ENOENT|ENOTSUP|EINVAL/,
  );
  expect(first.whyLost()).toBeNull();
  expect(await folderHeld("snapshot.directory", folder)).toBeNull();
});

test("facts that another program wrote are not shown", async () => {
  expect(await first.take("snapshot.directory", folder)).toBeNull();
  for (const text of [
    "",
    "{",
    '{"id":"x","pid":1,"host":"h\\n\\u001b[31m","started":"s","http":null}',
    "[]",
  ]) {
    writeFileSync(join(folder, "owner.json"), text);
    const { facts, message } = await refusal(second, folder);
    expect(facts.owner).toBeNull();
    expect(message).toContain("is used by another process of unknown name");
    expect(first.whyLost()).toBeNull();
    rmSync(join(folder, "owner.json"), { force: true });
  }
});

test("every caller of the socket is let go at once, and the claim holds", async () => {
  expect(await first.take("snapshot.directory", folder)).toBeNull();
  for (let i = 0; i < 600; i++) expect(await folderHeld("snapshot.directory", folder)).not.toBeNull();
  await refusal(second, folder);
});
