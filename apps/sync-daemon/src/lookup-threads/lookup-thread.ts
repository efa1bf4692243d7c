/**
 * Entry of a thread that answers lookups: reads an order, answers it, reads the next one. An uncaught error ends the
 * thread, and with it the process.
 *
 *     order ─▶ changes into DirectoryCopy ─▶ body ─▶ BodyLookup ─▶ answer, or null
 *     index, board: shared memory ───────────────────────┘
 *
 * Not here: the main thread's side (lookup-threads.ts).
 */

import { parentPort, workerData } from "node:worker_threads";

import { assert, attachReader } from "@kvsync/core";

import { BoardReader } from "../board/stream-board.ts";
import { epochMs } from "../clock.ts";
import { DirectoryCopy } from "../engine/directory-copy.ts";
import { FleetShard } from "../engine/fleet-shard.ts";
import { BodyLookup } from "../query/body-lookup.ts";
import type { FromLookupThread, LookupOrder, LookupThreadSettings } from "./lookup-messages.ts";

assert(parentPort !== null, "lookup-thread runs as a worker thread");
const port = parentPort;
const { index, board, incarnations, shard, tokensMax, prefixHashes } = workerData as LookupThreadSettings;

const directory = new DirectoryCopy(incarnations);
const lookup = new BodyLookup(
  {
    reader: attachReader(index, { tokensMax }),
    board: new BoardReader(board),
    registry: directory,
    shard: new FleetShard(shard.index, shard.count),
    now: epochMs,
  },
  { tokensMax, prefixHashes },
);

function tell(message: FromLookupThread): void {
  port.postMessage(message);
}

port.on("message", ({ body, changes }: LookupOrder) => {
  directory.apply(changes);
  tell(lookup.answer(body));
});
tell("ready");
