/**
 * A registration as a client of the community's API made it. `/services` shows it, and it is kept
 * over a restart.
 */

import { z } from "zod";

/** Its schema, for files. */
export const communityRegistration = z.strictObject({
  engineId: z.string(),
  instance: z.string(),
  tenant: z.string(),
  dpRank: z.int().min(0),
  model: z.string(),
  loraName: z.string(),
  type: z.string(),
  endpoint: z.string(),
  replayEndpoint: z.string(),
  blockSize: z.number(),
  additionalSalt: z.string(),
});

/** One DP rank, registered. */
export type CommunityRegistration = Readonly<z.output<typeof communityRegistration>>;
