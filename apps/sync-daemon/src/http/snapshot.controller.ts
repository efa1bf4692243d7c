/** `GET /api/v1/snapshot`: a snapshot made now, for a sibling that starts (format: snapshot/snapshot-file.ts). */

import { createReadStream, fstatSync, openSync } from "node:fs";

import { Controller, Get, Inject, Res } from "@nestjs/common";
import type { FastifyReply } from "fastify";

import { SnapshotError } from "../snapshot/snapshot-error.ts";
import { SnapshotStore, type WrittenSnapshot } from "../snapshot/snapshot-store.ts";
import { problem } from "../openapi/problem-status.ts";

/** Gives the daemon's state away. */
@Controller("api/v1/snapshot")
export class SnapshotController {
  readonly #snapshots: SnapshotStore;

  constructor(@Inject(SnapshotStore) snapshots: SnapshotStore) {
    this.#snapshots = snapshots;
  }

  /**
   * Makes a snapshot, or waits for the one being made, and streams it.
   *
   * @param reply - receives the file.
   */
  @Get()
  async snapshot(@Res() reply: FastifyReply): Promise<void> {
    let made: WrittenSnapshot;
    try {
      made = await this.#snapshots.write();
    } catch (error) {
      if (!(error instanceof SnapshotError)) throw error;
      const document = problem("snapshot_unavailable", error.message);
      await reply.status(document.status).header("content-type", "application/problem+json").send(document);
      return;
    }
    // Opened at once: the next snapshot replaces the name, not the file behind it. A file of its own is what is measured.
    const file = openSync(made.path, "r");
    await reply
      .header("content-type", "application/vnd.kvsync.snapshot")
      .header("content-length", String(fstatSync(file).size))
      .send(createReadStream(made.path, { fd: file }));
  }
}
