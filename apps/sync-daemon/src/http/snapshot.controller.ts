/** `GET /api/v1/snapshot`: a snapshot made now, for a sibling that starts (format: snapshot/snapshot-file.ts). */

import { createReadStream } from "node:fs";

import { Controller, Get, Inject, Res } from "@nestjs/common";
import type { FastifyReply } from "fastify";

import { Daemon } from "../daemon.ts";

/** Gives the daemon's state away. */
@Controller("api/v1/snapshot")
export class SnapshotController {
  readonly #daemon: Daemon;

  constructor(@Inject(Daemon) daemon: Daemon) {
    this.#daemon = daemon;
  }

  /**
   * Makes a snapshot, or waits for the one being made, and streams it.
   *
   * @param reply - receives the file.
   */
  @Get()
  async snapshot(@Res() reply: FastifyReply): Promise<void> {
    const { path, bytes } = await this.#daemon.snapshots.write();
    // Opened at once: the next snapshot replaces the name, not the file behind it.
    await reply
      .header("content-type", "application/vnd.kvsync.snapshot")
      .header("content-length", String(bytes))
      .send(createReadStream(path));
  }
}
