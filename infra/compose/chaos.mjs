/**
 * Loses events of a simulated engine every minute. A second of live messages is lost, then the history is emptied, so no
 * replay can bring them back.
 *
 *     node chaos.mjs ENGINE_URL [SECONDS]
 */
import { setTimeout as sleep } from "node:timers/promises";

const [url, seconds = "60"] = process.argv.slice(2);
if (url === undefined || !(Number(seconds) > 0)) {
  console.error("usage: node chaos.mjs ENGINE_URL [SECONDS]");
  process.exit(2);
}
process.once("SIGTERM", () => process.exit(0));

/** Tells the engine a fault; one that is away is tried again in the next round. */
async function fault(body) {
  try {
    const headers = { "content-type": "application/json" };
    const answer = await fetch(`${url}/faults`, { method: "POST", headers, body: JSON.stringify(body) });
    console.log(`${body.kind}: ${answer.status}`);
  } catch (error) {
    console.log(`${body.kind}: ${error.cause?.message ?? error.message}`);
  }
}

for (;;) {
  await sleep(1000 * Number(seconds));
  await fault({ kind: "lose", seconds: 1 });
  await sleep(1500);
  await fault({ kind: "truncate_history", keep: 0 });
}
