/** Namespaces by their labels, as a kind that can be watched. They belong to no namespace. */

import { z } from "zod";

import type { Resource, ResourceKind } from "./resource-stream.ts";

const namespace = z.object({
  metadata: z.object({
    name: z.string().min(1),
    resourceVersion: z.string().min(1),
  }),
});

/** Namespaces: their id is their name. */
export const NAMESPACES: ResourceKind<Resource> = {
  noun: "namespaces",
  group: "/api/v1",
  plural: "namespaces",
  read: (object) => {
    const parsed = namespace.safeParse(object);
    if (!parsed.success) return null;
    const { name, resourceVersion } = parsed.data.metadata;
    return { id: name, resourceVersion };
  },
};
