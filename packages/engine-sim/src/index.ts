/** The public surface of engine-sim: named, so that it is a page one reviews. */
export type {
  EngineContents,
  EngineCounters,
  EnginePressure,
  EngineRequest,
  EngineSettings,
  FinishedRequest,
  NumberedBatch,
  ScheduledStep,
  StepResult,
} from "./engine-contract.ts";
export { EngineError, type EngineErrorFacts } from "./engine-error.ts";
export { HASH_ALGORITHMS, type HashAlgorithm } from "./engine-hash.ts";
export type { ResolvedEngineSettings } from "./engine-settings.ts";
export type { Fault, PoisonForm } from "./fault.ts";
export { freePort } from "./free-port.ts";
export type { QuietPace } from "./scheduler.ts";
export { SimulatedEngine, type RestartResult } from "./simulated-engine.ts";
export type { DrivenRequest, RequestWatch } from "./engine-driver.ts";
export { EngineWorker, type EngineWorkerSettings, type WorkerRank } from "./engine-worker.ts";
export { EngineServer, type EngineServerSettings, type PublisherCounters } from "./engine-server.ts";
export {
  COST_MODEL_NAMES,
  COST_MODELS,
  type CostModel,
  type CostModelName,
  stepSeconds,
  type StepWork,
} from "./cost-model.ts";
export type { BlockListener, NamedRequestSource } from "./named-block-cache.ts";
export { NamedBlockEngine, type NamedBlockEngineSettings } from "./named-block-engine.ts";
