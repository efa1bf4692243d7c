/**
 * The page: head, notices, the view of the present route, and the dialog for a token.
 *
 * Served by the daemon under a strict content security policy with Trusted Types. Nothing here writes HTML.
 */
import { type ComponentChildren, type ComponentType, render } from "preact";

import { followAddress, linkTo, route, type ViewName } from "./page/route.ts";
import { startPage } from "./page/state.ts";
import { followTheme } from "./page/theme.ts";
import { Foot, Frame, Notices } from "./parts/frame.tsx";
import { Login } from "./parts/login.tsx";
import { FRAME, VIEWS } from "./texts.ts";
import { Engines } from "./views/engines.tsx";
import { Overview } from "./views/overview.tsx";
import { Prefixes } from "./views/prefixes.tsx";

const COMPONENTS: Readonly<Record<ViewName, ComponentType>> = {
  overview: Overview,
  engines: Engines,
  prefixes: Prefixes,
};

function Page(): ComponentChildren {
  const { view } = route.value;
  const View = Object.hasOwn(COMPONENTS, view) ? COMPONENTS[view as ViewName] : undefined;
  return (
    <>
      <Frame />
      <main>
        <Notices />
        {View === undefined ? (
          <section class="panel">
            <p class="empty">
              {FRAME.noView} <a href={linkTo("overview")}>{VIEWS.overview}</a>
            </p>
          </section>
        ) : (
          <View />
        )}
        <Foot />
      </main>
      <Login />
    </>
  );
}

followTheme();
followAddress();
startPage();
const mount = document.getElementById("page");
if (mount !== null) render(<Page />, mount);
