/**
 * A whole simulated worker in real time: its data-parallel ranks, each an engine with a driver and
 * sockets, and the HTTP in front of them.
 *
 *     one port       HTTP ─┬─▶ rank 0: driver ─▶ engine ─▶ PUB, ROUTER       x-data-parallel-rank, or the
 *                          └─▶ rank 1: driver ─▶ engine ─▶ PUB, ROUTER       least loaded
 *     port per rank  HTTP ───▶ rank 0    HTTP ───▶ rank 1                    vLLM's external load balancing
 *
 *  W1  Everything that was opened is closed when `stop` resolves, or `start` rejects.
 *  W2  `drain` lets completions finish, up to its time; `stop` aborts the rest.
 */
import type { EngineSettings, FinishedRequest } from "./engine-contract.ts";
import { type DrivenRequest, EngineDriver, type RequestWatch } from "./engine-driver.ts";
import { DEFAULT_ANSWER_TOKENS, EngineServer, PORT_MAX } from "./engine-server.ts";
import { checkInteger, DP_RANK_MAX } from "./engine-settings.ts";
import { EngineError } from "./engine-error.ts";
import { EngineHttp } from "./http/engine-http.ts";
import { RankChoice } from "./http/rank-choice.ts";
import { SimulatedEngine } from "./simulated-engine.ts";

/** An answer longer than this is a mistake in the unit. */
const ANSWER_TOKENS_MAX = 1_000_000;

/** How a worker is run. */
export interface EngineWorkerSettings {
  /** Of every rank; `dpRank` is the first one's. */
  readonly engine: EngineSettings;
  /** Data-parallel ranks; 1 by default. */
  readonly dpSize?: number | undefined;
  /** Modeled seconds per real second; 1 by default. */
  readonly speed?: number | undefined;
  /** Address to bind to; 127.0.0.1 by default. */
  readonly host?: string | undefined;
  /** As `EngineServerSettings`. */
  readonly port?: number | undefined;
  readonly replayPort?: number | null | undefined;
  /** HTTP port; 0, the default, takes a free one. */
  readonly httpPort?: number | undefined;
  /** Whether each rank has an HTTP port of its own, from `httpPort` on; false by default. */
  readonly portPerRank?: boolean | undefined;
  readonly answerTokens?: number | undefined;
  readonly topic?: string | undefined;
  readonly bufferSteps?: number | undefined;
  readonly seed?: number | undefined;
}

/** One rank. */
export interface WorkerRank {
  readonly engine: SimulatedEngine;
  readonly driver: EngineDriver;
  readonly server: EngineServer;
  /** Where it is served over HTTP, alone or with others. */
  readonly httpUrl: string;
}

/** See the header. */
export class EngineWorker {
  readonly ranks: readonly WorkerRank[];
  readonly #ports: readonly EngineHttp[];
  readonly #choice: RankChoice<WorkerRank>;
  readonly #runs: readonly Promise<void>[];

  private constructor(ranks: readonly WorkerRank[], ports: readonly EngineHttp[]) {
    this.ranks = ranks;
    this.#ports = ports;
    this.#choice = new RankChoice(ranks);
    this.#runs = ranks.map(({ driver, server }) => driver.run(server));
  }

  /**
   * Makes the engines, binds their sockets, and lets them run.
   *
   * @throws EngineError `invalid_setting`, `bind_failed`; nothing stays open then.
   */
  static async start(settings: EngineWorkerSettings): Promise<EngineWorker> {
    check(settings);
    const servers: EngineServer[] = [];
    const ports: EngineHttp[] = [];
    try {
      const ranks = await startRanks(settings, servers);
      const urls = await listen(settings, servers, ports);
      return new EngineWorker(
        ranks.map((rank, index) => ({ ...rank, httpUrl: urls[index] ?? "" })),
        ports,
      );
    } catch (error) {
      await Promise.all([...servers.map((server) => server.stop()), ...ports.map((port) => port.close())]);
      throw error;
    }
  }

  /** Base URLs, one per port. */
  get httpUrls(): readonly string[] {
    return this.#ports.map(({ url }) => url);
  }

  /**
   * Submits a request to the least loaded rank.
   *
   * @throws EngineError as `EngineDriver.submit`.
   */
  submit(request: DrivenRequest, watch?: RequestWatch): Promise<FinishedRequest> {
    return this.#choice.choose(undefined).driver.submit(request, watch);
  }

  /** Refuses new completions, and resolves when those under way have finished or the time is over. */
  async drain(seconds: number): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    const over = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, seconds * 1000);
    });
    await Promise.race([Promise.all(this.#ports.map((port) => port.drain())), over]);
    clearTimeout(timer);
  }

  /** Aborts what is under way and closes everything. */
  async stop(): Promise<void> {
    for (const { driver } of this.ranks) driver.stop();
    await Promise.all(this.#runs);
    await Promise.all(this.#ports.map((port) => port.close()));
    await Promise.all(this.ranks.map(({ server }) => server.stop()));
  }
}

function check({
  engine,
  dpSize = 1,
  speed = 1,
  httpPort = 0,
  portPerRank,
  answerTokens = 1,
}: EngineWorkerSettings): void {
  checkInteger("dpSize", dpSize, 1, DP_RANK_MAX + 1 - (engine.dpRank ?? 0));
  checkInteger("httpPort", httpPort, 0, PORT_MAX + 1 - (portPerRank === true ? dpSize : 1));
  checkInteger("answerTokens", answerTokens, 1, ANSWER_TOKENS_MAX);
  if (!(speed > 0 && Number.isFinite(speed)))
    throw new EngineError(
      { code: "invalid_setting", setting: "speed", value: String(speed) },
      `setting speed is ${speed}, expected a factor above 0`,
    );
}

async function startRanks(
  {
    engine,
    dpSize = 1,
    speed = 1,
    host,
    port,
    replayPort,
    topic,
    bufferSteps,
    seed = 0,
  }: EngineWorkerSettings,
  servers: EngineServer[],
): Promise<Omit<WorkerRank, "httpUrl">[]> {
  const ranks: Omit<WorkerRank, "httpUrl">[] = [];
  for (let index = 0; index < dpSize; index++) {
    const one = new SimulatedEngine({ ...engine, dpRank: (engine.dpRank ?? 0) + index });
    const driver = new EngineDriver(one, speed);
    const server = await EngineServer.start({
      engine: one,
      driver,
      host,
      port,
      replayPort,
      topic,
      bufferSteps,
      seed: seed + index,
    });
    servers.push(server);
    ranks.push({ engine: one, driver, server });
  }
  return ranks;
}

// The URL of each rank, in order.
async function listen(
  {
    host = "127.0.0.1",
    httpPort = 0,
    portPerRank = false,
    answerTokens = DEFAULT_ANSWER_TOKENS,
  }: EngineWorkerSettings,
  servers: readonly EngineServer[],
  ports: EngineHttp[],
): Promise<string[]> {
  const all = servers.map(({ httpRank }) => httpRank);
  const groups = portPerRank ? all.map((rank) => [rank]) : [all];
  const urls: string[] = [];
  for (const [index, [first, ...further]] of groups.entries()) {
    if (first === undefined) continue;
    const port = httpPort === 0 ? 0 : httpPort + index;
    const listening = await EngineHttp.listen([first, ...further], { host, port, answerTokens });
    ports.push(listening);
    urls.push(...[first, ...further].map(() => listening.url));
  }
  return urls;
}
