/**
 * The page: head, notices, the view of the present route, and the dialog for a token.
 *
 * Served by the daemon under a strict content security policy with Trusted Types. Nothing here writes HTML.
 */
import { type ComponentChildren, render } from "preact";
import { useEffect } from "preact/hooks";

import { followAddress, linkTo, route, type ViewName } from "./page/route.ts";
import { startPage } from "./page/state.ts";
import { followTheme } from "./page/theme.ts";
import { Foot, Frame, Notices } from "./parts/frame.tsx";
import { Login } from "./parts/login.tsx";
import { Skeleton } from "./parts/panel.tsx";
import { FRAME, VIEWS } from "./texts/frame.ts";
import { chunkOf, isView, loadView } from "./views/views.ts";

function Page(): ComponentChildren {
  const { view } = route.value;
  return (
    <>
      <Frame />
      <main tabIndex={-1}>
        {/* The overview has a heading of its own: its first sentence. */}
        {view === "overview" ? null : <h1 class="unseen">{isView(view) ? VIEWS[view] : view}</h1>}
        <Notices hasVerdict={view === "overview" && chunkOf(view).kind === "here"} />
        {isView(view) ? (
          <LoadedView view={view} />
        ) : (
          <section class="panel">
            <p class="empty">
              {FRAME.noView} <a href={linkTo("overview")}>{VIEWS.overview}</a>
            </p>
          </section>
        )}
        <Foot />
      </main>
      <Login />
    </>
  );
}

function LoadedView({ view }: { readonly view: ViewName }): ComponentChildren {
  useEffect(() => {
    loadView(view);
  }, [view]);
  const chunk = chunkOf(view);
  if (chunk.kind === "here") return <chunk.View />;
  return (
    <section class="panel" aria-busy={chunk.kind === "coming"}>
      {chunk.kind === "coming" ? (
        <Skeleton />
      ) : (
        <p class="empty" role="alert">
          {FRAME.noChunk}{" "}
          <button
            type="button"
            class="link"
            onClick={() => {
              location.reload();
            }}
          >
            {FRAME.reload}
          </button>
        </p>
      )}
    </section>
  );
}

followTheme();
followAddress();
startPage();
if (isView(route.value.view)) loadView(route.value.view);
const mount = document.getElementById("page");
if (mount !== null) render(<Page />, mount);
