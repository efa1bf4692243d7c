/** Settings of finding engines: the list in the file, registrations over HTTP, and Kubernetes. */

import { isIP } from "node:net";

import { z } from "zod";

import { kubernetesSection } from "./kubernetes-settings.ts";
import { seconds, section, SETTING_FACTS, text } from "./setting-field.ts";

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
  shared_directory: text(
    "Folder that all replicas can read and write. All of them follow the engines that one registers over HTTP. Unset, each replica has its own registrations.",
    null,
  ),
  shared_poll_seconds: seconds("Time between two looks at the shared folder.", 2, 0.05, 60),
  dns_servers: dnsServers,
  resolve_seconds: seconds(
    "Time between two looks at the addresses of names that were registered over HTTP.",
    10,
    0.05,
    3600,
  ),
  kubernetes: kubernetesSection,
});

function isDnsServer(server: string): boolean {
  const [, bracketed, plain, port] = /^(?:\[([^\]]+)\]|([\d.]+))(?::(\d{1,5}))?$/.exec(server) ?? [];
  if (isIP(server) !== 0) return true;
  const isAddress = isIP(bracketed ?? "") === 6 || isIP(plain ?? "") === 4;
  return isAddress && (port === undefined || (Number(port) > 0 && Number(port) <= PORT_MAX));
}
