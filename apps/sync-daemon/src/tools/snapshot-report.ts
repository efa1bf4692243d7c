/** What is in a snapshot file, for people and scripts. Reading it checks all of it. */

import { verifySnapshot } from "../snapshot/snapshot-file.ts";
import { isoTime, type Terminal, whole } from "./terminal.ts";

/**
 * Checks a file and prints what it holds.
 *
 * @param path - of the file.
 * @param isJson - one JSON object instead of text.
 * @param terminal - where to.
 * @throws SnapshotError naming what is wrong and where.
 */
export function printSnapshot(path: string, isJson: boolean, terminal: Terminal): void {
  const { head, contexts, rows, parked, bytes } = verifySnapshot(path);
  const streams = head.streams.map(({ position, ...stream }) => ({
    ...stream,
    lastSequenceNumber: position.lastSequenceNumber,
    historyFrom: position.applier.historyFrom,
  }));
  if (isJson) {
    const { productVersion, createdMs, hashSeed } = head;
    terminal.json({ path, bytes, productVersion, createdMs, hashSeed, rows, parked, contexts, streams });
    return;
  }
  const ageSeconds = (Date.now() - head.createdMs) / 1000;
  terminal.line(`${path}: whole, ${whole(bytes)} bytes`);
  terminal.line(
    `  written by ${head.productVersion}, ${isoTime(head.createdMs)} (${whole(ageSeconds)} s ago), hash seed ${head.hashSeed}`,
  );
  terminal.line(`  ${whole(rows)} holders of blocks, ${whole(parked)} stores that wait for a parent`);
  terminal.line("");
  terminal.table(
    ["model", "lora", "block size", "holders"],
    contexts.map(({ model, loraName, blockSize, rows: held }) => [
      model,
      loraName ?? "-",
      String(blockSize),
      whole(held),
    ]),
  );
  terminal.line("");
  terminal.table(
    ["worker", "rank", "model", "last number", "history from", "endpoint"],
    streams.map(({ workerId, dpRank, model, lastSequenceNumber, historyFrom, endpoint }) => [
      workerId,
      String(dpRank),
      model,
      String(lastSequenceNumber),
      String(historyFrom),
      endpoint,
    ]),
  );
}
