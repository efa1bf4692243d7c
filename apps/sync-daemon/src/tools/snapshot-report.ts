/** The contents of a snapshot file, for people and scripts. Reading it checks all of it. */

import { DEFAULT_HASH_SEED } from "@kvsync/core";

import { type SnapshotHead, verifySnapshot } from "../snapshot/snapshot-file.ts";
import { isoTime, type Terminal, whole } from "./terminal.ts";

/** The setting that it was made under. The seed itself is not shown. */
function prefixHashesOf({ hashSeed }: SnapshotHead): "public" | "secret" {
  return hashSeed === String(DEFAULT_HASH_SEED) ? "public" : "secret";
}

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
    const { productVersion, createdMs } = head;
    terminal.json({
      path,
      bytes,
      productVersion,
      createdMs,
      prefixHashes: prefixHashesOf(head),
      rows,
      parked,
      contexts,
      streams,
    });
    return;
  }
  const ageSeconds = (Date.now() - head.createdMs) / 1000;
  terminal.line(`${path}: whole, ${whole(bytes)} bytes`);
  terminal.line(
    `  written by ${head.productVersion}, ${isoTime(head.createdMs)} (${whole(ageSeconds)} s ago), prefix hashes ${prefixHashesOf(head)}`,
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
