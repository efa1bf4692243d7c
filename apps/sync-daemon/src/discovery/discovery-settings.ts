/** Settings of finding engines: the list in the file, registrations over HTTP, and Kubernetes. */

import { seconds, section, text } from "../settings/setting-field.ts";

/** Section `discovery`. */
export const discoverySection = section({
  config_poll_seconds: seconds(
    "Time between two looks at the configuration file; changes of its directory are seen at once.",
    10,
    0.1,
    3600,
  ),
  state_directory: text(
    "Folder of this daemon alone where engines registered over HTTP are kept over a restart; unset for not at all.",
    null,
  ),
});
