/**
 * Some of the engines of an `EngineCrowd`, as a process of their own: real sockets, and a request for each engine once a second.
 *
 * The requests of a second are spread over it, as those of real engines are. The parent sends `begin` and `end`.
 */
import { EngineServer, SimulatedEngine } from "@kvsync/engine-sim";

const BLOCKS = 64;
const PROMPT_TOKENS = 48;
const VOCABULARY = 128_000;
/** Turns in which the engines of a second are served. */
const TURNS = 25;

const [first = 0, count = 0, models = 1] = process.argv.slice(2).map(Number);

const engines = await Promise.all(
  Array.from({ length: count }, async (_, i) => {
    const id = `vllm-${String(first + i).padStart(4, "0")}`;
    const model = `test/model-${(first + i) % models}`;
    const engine = new SimulatedEngine({ id, model, blockSize: 16, blockCount: BLOCKS });
    return { id, model, engine, server: await EngineServer.start({ seed: first + i, engine }) };
  }),
);
let requests = 0;

function serve({ engine, server }: (typeof engines)[number]): void {
  const seed = requests++;
  const promptTokens = Uint32Array.from(
    { length: PROMPT_TOKENS },
    (_, i) => (Math.imul(seed, 7919) + i * 31) % VOCABULARY,
  );
  let now = Date.now() / 1000;
  engine.submit(
    {
      id: seed,
      promptTokens: promptTokens.map(Math.abs),
      output: { count: 2, seed },
      loraName: null,
      cacheSalt: null,
    },
    now,
  );
  while (engine.hasWork) {
    const { batch, durationSeconds } = engine.step(now);
    now += durationSeconds;
    if (batch !== null) server.publish(batch);
  }
}

process.on("message", (order) => {
  if (order === "end") process.exit(0);
  let turn = 0;
  setInterval(() => {
    for (let i = turn % TURNS; i < engines.length; i += TURNS) {
      const engine = engines[i];
      if (engine !== undefined) serve(engine);
    }
    turn += 1;
  }, 1000 / TURNS);
});
process.on("disconnect", () => process.exit(0));
process.send?.(
  engines.map(({ id, model, server: { endpoint, replayEndpoint } }) => ({
    id,
    model,
    endpoint,
    replay_endpoint: replayEndpoint,
  })),
);
