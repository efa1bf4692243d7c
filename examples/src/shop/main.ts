/** The shop: `POST /orders` is a checkout, `GET /metrics` is for Prometheus. `node src/shop/main.ts [PORT]`. */

import { createServer } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";

import { SCRAPE_CONTENT_TYPES, scrapeFormat } from "@kvsync/observability/scrape-format";

import { exposition, metrics } from "./metrics.ts";

let carts = 0;

const server = createServer((request, response) => {
  if (request.url === "/metrics") {
    const format = scrapeFormat(request.headers.accept);
    void exposition.scrape(format).then((text) => {
      response.setHeader("content-type", SCRAPE_CONTENT_TYPES[format]).end(text);
    });
  } else if (request.url === "/orders" && request.method === "POST") {
    void checkOut().then((isPaid) => response.writeHead(isPaid ? 201 : 402).end());
  } else response.writeHead(404).end();
});

/** Asks an imaginary payment provider, which declines one order in twenty. */
async function checkOut(): Promise<boolean> {
  const beganMs = performance.now();
  metrics.openCarts.set(++carts);
  await sleep(100 * Math.random());
  metrics.openCarts.set(--carts);
  metrics.checkout.observe((performance.now() - beganMs) / 1000);
  const isPaid = Math.random() > 0.05;
  (isPaid ? metrics.paid : metrics.declined).inc();
  return isPaid;
}

server.listen(Number(process.argv[2] ?? 8080), "127.0.0.1", () => {
  const address = server.address();
  if (typeof address === "object") process.stdout.write(`shop: http://127.0.0.1:${address?.port ?? 0}\n`);
});
