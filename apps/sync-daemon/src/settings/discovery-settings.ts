/** Settings of finding engines: the list in the file, registrations over HTTP, and Kubernetes. */

import { isIP } from "node:net";

import { z } from "zod";

import { flag, seconds, section, SETTING_FACTS, text } from "./setting-field.ts";

/** Namespaces watched one by one; each is a connection to the API server. Beyond, all of them are one. */
const NAMESPACES_MAX = 32;
const NAMESPACE_EXPECTED = "names of namespaces, or * alone for all";

const namespaces = z
  .array(z.string(NAMESPACE_EXPECTED), NAMESPACE_EXPECTED)
  .max(NAMESPACES_MAX, `at most ${NAMESPACES_MAX} namespaces, or * for all`)
  .refine(areNamespaces, NAMESPACE_EXPECTED)
  .default([])
  .register(SETTING_FACTS, {
    about: "Namespaces to look for pods in; none for the one that the daemon's account is in, * for all.",
    expected: NAMESPACE_EXPECTED,
    textForm: "list",
  });

const PORT_MAX = 65_535;
/** More than any system's own list. */
const DNS_SERVERS_MAX = 8;
const DNS_SERVERS_EXPECTED = "addresses of DNS servers, such as 10.0.0.10, 10.0.0.10:5353 or [fd00::10]:5353";

const dnsServers = z
  .array(z.string(DNS_SERVERS_EXPECTED), DNS_SERVERS_EXPECTED)
  .max(DNS_SERVERS_MAX, `at most ${DNS_SERVERS_MAX} DNS servers`)
  .refine((servers) => servers.every(isDnsServer), DNS_SERVERS_EXPECTED)
  .default([])
  .register(SETTING_FACTS, {
    about:
      "DNS servers to ask for engines' names, in this order; none for the system's resolver with its hosts file.",
    expected: DNS_SERVERS_EXPECTED,
    textForm: "list",
  });

/** Section `discovery`. */
export const discoverySection = section({
  config_poll_seconds: seconds(
    "Time between two looks at the configuration file; changes of its directory are seen at once.",
    10,
    0.1,
    3600,
  ),
  state_directory: text(
    "Folder of this daemon only. Engines that were registered over HTTP or found among pods survive a restart there. Unset, they do not.",
    null,
  ),
  dns_servers: dnsServers,
  resolve_seconds: seconds(
    "Time between two looks at the addresses of names that were registered over HTTP.",
    10,
    0.05,
    3600,
  ),
  kubernetes: section({
    enabled: flag("Find engines among the cluster's pods.", false),
    namespaces,
    selector: text("Further labels that pods need, as a label selector; unset for none.", null),
    kubeconfig: text("Kubeconfig file; unset for the pod's service account.", null),
    request_timeout_seconds: seconds("Longest wait for the API server to begin an answer.", 15, 0.1, 300),
    watch_seconds: seconds("How long one watch is kept open, at least; at most twice this.", 240, 1, 1800),
    resync_seconds: seconds("Time between two full lists, in addition to watches.", 1800, 1, 86_400),
    retry_seconds_min: seconds("First pause after a request that failed.", 0.8, 0.01, 60),
    retry_seconds_max: seconds(
      "Longest pause after requests that failed, less than twice this with jitter.",
      30,
      0.01,
      600,
    ),
  }),
});

function isDnsServer(server: string): boolean {
  const [, bracketed, plain, port] = /^(?:\[([^\]]+)\]|([\d.]+))(?::(\d{1,5}))?$/.exec(server) ?? [];
  if (isIP(server) !== 0) return true;
  const isAddress = isIP(bracketed ?? "") === 6 || isIP(plain ?? "") === 4;
  return isAddress && (port === undefined || (Number(port) > 0 && Number(port) <= PORT_MAX));
}

function areNamespaces(names: readonly string[]): boolean {
  if (names.length === 1 && names[0] === "*") return true;
  return (
    new Set(names).size === names.length &&
    names.every((name) => /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/.test(name))
  );
}
