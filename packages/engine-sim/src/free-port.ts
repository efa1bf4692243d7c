/**
 * A port for a server whose port must be known before it starts, as Envoy's. An engine that starts again
 * at its old port needs one too.
 *
 *     1024      10,000          32,768                 65,535
 *     │ services │  drawn here  │ given by the kernel   │
 *
 * Invariants:
 *  P1  A port is below those that kernels give to port 0 and to outgoing connections (from 32,768 on Linux,
 *      from 49,152 elsewhere). So no other program is given it between draw and use.
 *  P2  It was free at its draw, and this process does not draw it again.
 *
 * Two processes may draw the same one: of 22,768, at random.
 */
import { randomInt } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:net";

const LOWEST = 10_000;
/** Where the kernel's own begin (net.ipv4.ip_local_port_range of Linux; other systems' begin later). */
const END = 32_768;
const DRAWS_MAX = 1_000;

const drawn = new Set<number>();

/**
 * Draws a port of 127.0.0.1 that no program listens at.
 *
 * @throws Error when none of many is free.
 */
export async function freePort(): Promise<number> {
  for (let draws = 0; draws < DRAWS_MAX; draws++) {
    const port = randomInt(LOWEST, END);
    if (drawn.has(port) || !(await isFree(port))) continue;
    drawn.add(port);
    return port;
  }
  throw new Error(
    `none of ${DRAWS_MAX} ports from ${LOWEST} to ${END - 1} is free; end the programs that listen`,
  );
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer();
  try {
    server.listen(port, "127.0.0.1");
    await once(server, "listening");
  } catch {
    return false;
  }
  server.close();
  await once(server, "close");
  return true;
}
