/** The public surface of engine-sim. */
export type {
  EngineContents,
  EngineCounters,
  EnginePressure,
  EngineRequest,
  EngineSettings,
  FinishedRequest,
  NumberedBatch,
  StepResult,
} from "./engine-contract.ts";
export type { HashAlgorithm } from "./engine-hash.ts";
export type { Fault, PoisonForm } from "./fault.ts";
export { SimulatedEngine, type ResolvedEngineSettings } from "./simulated-engine.ts";
export { EngineServer, type EngineServerSettings, type PublisherCounters } from "./engine-server.ts";
