/**
 * A TCP connection that can be held: bytes in both directions wait until it is released.
 *
 *     daemon ─▶ SlowLine ─▶ engine          hold ─▶ nothing passes ─▶ release ─▶ all of it passes
 */
import { connect, createServer, type AddressInfo, type Server, type Socket } from "node:net";

/** See the head of this file. */
export class SlowLine {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #isHeld = false;

  private constructor(target: number) {
    this.#server = createServer((near) => {
      const far = connect(target, "127.0.0.1");
      for (const [from, to] of [
        [near, far],
        [far, near],
      ] as const) {
        this.#sockets.add(from);
        from.on("data", (bytes: Buffer) => to.write(bytes));
        from.on("end", () => to.end());
        from.on("error", () => to.destroy());
        from.on("close", () => {
          this.#sockets.delete(from);
          to.destroy();
        });
        if (this.#isHeld) from.pause();
      }
    });
  }

  /** Listens in front of a port of this machine. */
  static async to(port: number): Promise<SlowLine> {
    const line = new SlowLine(port);
    await new Promise<void>((resolve) => line.#server.listen(0, "127.0.0.1", resolve));
    return line;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  hold(): void {
    this.#isHeld = true;
    for (const socket of this.#sockets) socket.pause();
  }

  release(): void {
    this.#isHeld = false;
    for (const socket of this.#sockets) socket.resume();
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}
