/**
 * `GET /api/v1/snapshot`: a snapshot made now, for a sibling that starts, or the part of it that a shard's workers are (format:
 * snapshot/snapshot-file.ts).
 */

import { createReadStream, fstatSync, openSync } from "node:fs";

import { Controller, Get, Inject, Query, Res } from "@nestjs/common";
import type { FastifyReply } from "fastify";

import { EngineRegistry } from "../engine/engine-registry.ts";
import { FleetShard } from "../engine/fleet-shard.ts";
import { snapshotQuery } from "../openapi/system-answers.ts";
import { checkFields } from "../request/check-fields.ts";
import { malformed } from "../request/request-error.ts";
import { SnapshotError } from "../snapshot/snapshot-error.ts";
import { SnapshotStore } from "../snapshot/snapshot-store.ts";
import { problem } from "../openapi/problem-status.ts";

/** Gives the daemon's state away. */
@Controller("api/v1/snapshot")
export class SnapshotController {
  readonly #snapshots: SnapshotStore;
  readonly #registry: EngineRegistry;

  constructor(
    @Inject(SnapshotStore) snapshots: SnapshotStore,
    @Inject(EngineRegistry) registry: EngineRegistry,
  ) {
    this.#snapshots = snapshots;
    this.#registry = registry;
  }

  /**
   * Makes a snapshot, or waits for the one being made, and streams it.
   *
   * @param query - a shard, for the rows of its workers alone.
   * @param reply - receives the file; 204 when none of the shard's workers is followed here.
   */
  @Get()
  async snapshot(@Query() query: unknown, @Res() reply: FastifyReply): Promise<void> {
    const shard = shardOf(query);
    if (shard !== null && !this.#hasWorkersOf(shard)) {
      await reply.status(204).send();
      return;
    }
    let fd: number;
    try {
      // Opened at once: the next snapshot replaces the name, not the file behind it. A file of its own is what is measured.
      fd =
        shard === null
          ? openSync((await this.#snapshots.write()).path, "r")
          : await this.#snapshots.writePart(shard);
    } catch (error) {
      if (!(error instanceof SnapshotError)) throw error;
      const document = problem("snapshot_unavailable", error.message);
      await reply.status(document.status).header("content-type", "application/problem+json").send(document);
      return;
    }
    await reply
      .header("content-type", "application/vnd.kvsync.snapshot")
      .header("content-length", String(fstatSync(fd).size))
      .send(createReadStream("", { fd }));
  }

  #hasWorkersOf(shard: FleetShard): boolean {
    return [...this.#registry.engines()].some(({ engine }) => shard.owns(engine.id));
  }
}

/** @throws RequestError malformed_body. */
function shardOf(query: unknown): FleetShard | null {
  const { shard_index: index, shard_count: count } = checkFields(snapshotQuery, query, "query");
  if (index === undefined && count === undefined) return null;
  if (index === undefined || count === undefined || index >= count)
    throw malformed("shard_index", "shard_index below shard_count, and both or none");
  return new FleetShard(index, count);
}
