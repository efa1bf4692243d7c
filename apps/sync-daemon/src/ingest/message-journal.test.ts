/** The journal on a real file: a killed run leaves messages in it, and a clean one leaves no file. */
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterEach, beforeEach, expect, test } from "vitest";

import { recordedLog } from "../log/testing/recorded-log.ts";
import { MessageJournal, RunJournal } from "./message-journal.ts";
import { SetAsideMessages } from "./set-aside.ts";

const OWNER = { workerId: "engine-ü", dpRank: 3, endpoint: "tcp://h:1" };

let folder = "";
let { log: hear, lines: log } = recordedLog();
const file = (): string => join(folder, "run.journal");

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "kvsync-journal-"));
  ({ log: hear, lines: log } = recordedLog());
});
afterEach(() => {
  rmSync(folder, { recursive: true });
});

/** A run after a killed one, and the journal of one of its workers. */
function watchedRun(workerNumber = 0): MessageJournal {
  writeFileSync(file(), "");
  const { order } = new RunJournal(folder, hear, 1000);
  if (order === null) throw new Error("the run is watched");
  return new MessageJournal(order, workerNumber, hear);
}

function begin(journal: MessageJournal, timestampSeconds: number): void {
  const record = MessageJournal.record(OWNER);
  if (record === null) throw new Error("the names fit");
  journal.at(record, { sequenceNumber: 2 ** 53 - 1, timestampSeconds, bytes: 77 });
}

test("J1: a run after a clean stop has an empty file and gives no order to record, and its end removes the file", () => {
  const run = new RunJournal(folder, hear, 1000);
  expect(run).toMatchObject({ found: [], order: null });
  expect(statSync(file())).toMatchObject({ size: 0 });
  run.end();
  expect(existsSync(file())).toBe(false);
  expect(log).toEqual([]);
});

test("J1: without a folder nothing is recorded", () => {
  const run = new RunJournal(null, hear, 1000);
  run.end();
  expect(run).toMatchObject({ found: [], order: null });
});

test.each([1e9, Number.NaN, Number.NEGATIVE_INFINITY])(
  "J2: the message that a killed worker was at is found, with a timestamp of %d, by worker and rank",
  (timestampSeconds) => {
    begin(watchedRun(15), timestampSeconds);
    expect(new RunJournal(folder, hear, 1000).found).toEqual([
      { owner: OWNER, message: { sequenceNumber: 2 ** 53 - 1, timestampSeconds, bytes: 77 } },
    ]);
  },
);

test("J2: a worker that rests, and one whose watch is over, leave no message", () => {
  const resting = watchedRun();
  begin(resting, 1);
  resting.rest();
  expect(new RunJournal(folder, hear, 1000).found).toEqual([]);

  const late = watchedRun();
  begin(late, 1);
  late.tick(1000 + 600_000);
  expect(readFileSync(file()).readUInt32LE(0)).toBeGreaterThan(0);
  late.tick(1001 + 600_000);
  begin(late, 2);
  expect(readFileSync(file()).readUInt32LE(0)).toBe(0);
});

test("J3: a file that is damaged, or a folder that cannot be written, is logged and nothing else", () => {
  const journal = watchedRun(1);
  begin(journal, 1);
  const bytes = readFileSync(file());
  bytes.writeUInt32LE(0xffff_ffff, 0);
  writeFileSync(file(), bytes);
  ({ log: hear, lines: log } = recordedLog());
  expect(new RunJournal(folder, hear, 1000).found).toHaveLength(1);
  expect(log.map(({ event }) => event)).toEqual(["run_journal_failed", "run_was_killed"]);

  ({ log: hear, lines: log } = recordedLog());
  const blocked = new RunJournal(join(file(), "no-folder"), hear, 1000);
  blocked.end();
  expect(blocked.order).toBeNull();
  expect(log[0]).toMatchObject({ event: "run_journal_failed", facts: { file: "run.journal" } });
});

test("names that are longer than a section are not recorded", () => {
  expect(MessageJournal.record({ ...OWNER, endpoint: "x".repeat(4096) })).toBeNull();
});

test.each([Number.NaN, Number.POSITIVE_INFINITY, -0])(
  "S2: a message with a timestamp of %d is set aside by the next run too, once",
  (timestampSeconds) => {
    const message = { sequenceNumber: 5, timestampSeconds, bytes: 9 };
    const first = new SetAsideMessages(folder, hear);
    first.add(OWNER, message, "killed");
    first.add(OWNER, message, "killed");
    expect(log).toEqual([]);
    const [known, ...more] = new SetAsideMessages(folder, hear).of(OWNER);
    expect(log).toEqual([]);
    expect(known?.timestampSeconds).toEqual(timestampSeconds + 0);
    expect(more).toEqual([]);
  },
);

test("S2: a folder that cannot be written costs the memory of a death, and is reported", () => {
  new SetAsideMessages("/dev/null/nowhere", hear).add(
    OWNER,
    { sequenceNumber: 5, timestampSeconds: 1, bytes: 9 },
    "killed",
  );
  expect(log.map(({ event }) => event)).toContain("set_aside_unwritable");
});

test("S1: of more messages than are remembered the newest stay", () => {
  const set = new SetAsideMessages(folder, hear);
  for (let number = 0; number < 70; number++)
    set.add(OWNER, { sequenceNumber: number, timestampSeconds: 1, bytes: 9 }, "killed");
  const numbers = new SetAsideMessages(folder, hear).of(OWNER).map(({ sequenceNumber }) => sequenceNumber);
  expect(numbers).toEqual(Array.from({ length: 64 }, (_, i) => i + 6));
  expect(log).toEqual([]);
});
