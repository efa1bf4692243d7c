/**
 * The fleet's thread: a Fleet behind messages (messages.ts). It ends when the router's thread calls
 * `stop`, or dies with an error, which reaches the router's thread as the worker's `error` event.
 */
import { type MessagePort, parentPort, workerData } from "node:worker_threads";
import { assert, unreachable } from "@kvsync/core";

import { Fleet } from "./fleet.ts";
import type { FleetCallName, FleetCalls, FleetSettings, FromFleet, ToFleet } from "./messages.ts";

/** Calls one of the fleet's methods by name. */
async function answer(fleet: Fleet, name: FleetCallName, argument: unknown): Promise<unknown> {
  switch (name) {
    case "begin":
    case "resume":
      fleet.resume();
      return null;
    case "pause":
      await fleet.pause();
      return null;
    case "positions":
      return fleet.positions();
    case "contents":
      return fleet.contents();
    case "totals":
      return fleet.totals();
    case "fault": {
      const { engine, fault } = argument as FleetCalls["fault"]["argument"];
      await fleet.applyFault(engine, fault);
      return null;
    }
    case "stop":
      await fleet.stop();
      return null;
    default:
      return unreachable(name);
  }
}

async function serve(port: MessagePort): Promise<void> {
  const tell = (message: FromFleet, transfer: ArrayBuffer[] = []): void => {
    port.postMessage(message, transfer);
  };
  const fleet = await Fleet.start(workerData as FleetSettings, tell);
  port.on("message", (message: ToFleet) => {
    if (message.kind === "submit") {
      fleet.submit(message.request, message.engine);
      return;
    }
    const { call, name, argument } = message;
    answer(fleet, name, argument)
      .then(
        (value) => {
          tell({ kind: "reply", call, answer: value });
        },
        (error: unknown) => {
          tell({ kind: "reply", call, error: error instanceof Error ? error.message : String(error) });
        },
      )
      .finally(() => {
        if (name === "stop") port.close();
      });
  });
  tell({ kind: "ready", engines: fleet.engines });
}

assert(parentPort !== null, "the fleet's thread is started as a worker");
await serve(parentPort);
