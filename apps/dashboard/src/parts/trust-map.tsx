/**
 * One cell for each engine of a model, colored by trust: one SVG path for each color and any number of engines.
 *
 *     columns = width / PITCH      cell i at (i mod columns, i div columns)
 */
import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";

import { goTo } from "../page/route.ts";
import { OVERVIEW } from "../texts/overview.ts";
import { type EngineSummary, isUnreachable, type ModelSummary } from "../verdict/fleet-summary.ts";
import { count } from "../words.ts";
import { useWidth } from "./width.ts";

/** Most cells of all models together. */
export const CELLS_MAX = 4096;

const PITCH_X = 10;
const PITCH_Y = 9;
const CELL_X = 8;
const CELL_Y = 7;

/** The word that an engine's cell is colored by. */
function cellTone({ worst }: EngineSummary): string {
  return isUnreachable(worst) ? "bad" : worst.trust;
}

/** The rows of cells of one model. */
export function TrustMap({
  model: { model, engines, exact },
  cells,
}: {
  readonly model: ModelSummary;
  /** How many of its engines are drawn. */
  readonly cells: number;
}): ComponentChildren {
  const [ref, width] = useWidth<HTMLDivElement>();
  const [hovered, setHovered] = useState<EngineSummary | null>(null);
  const columns = Math.max(1, Math.floor(width / PITCH_X));
  const drawn = engines.slice(0, cells);
  const height = Math.ceil(drawn.length / columns) * PITCH_Y;
  const at = (event: MouseEvent): EngineSummary | null => {
    const column = Math.floor(event.offsetX / PITCH_X);
    if (column >= columns) return null;
    return drawn[Math.floor(event.offsetY / PITCH_Y) * columns + column] ?? null;
  };
  const name = model === "" ? OVERVIEW.noModel : model;
  const state =
    hovered === null ? null : isUnreachable(hovered.worst) ? hovered.worst.state : hovered.worst.trust;
  return (
    <div class="m">
      <span class="mono name" title={name}>
        {name}
      </span>
      <div class="cells" ref={ref}>
        {width === 0 ? null : (
          <svg
            width={columns * PITCH_X}
            height={height}
            role="img"
            aria-label={OVERVIEW.mapLabel(name, count(exact), count(engines.length))}
            onMouseMove={(event) => {
              setHovered(at(event));
            }}
            onMouseLeave={() => {
              setHovered(null);
            }}
            onClick={(event) => {
              const engine = at(event);
              if (engine !== null) goTo("engines", { open: engine.id });
            }}
          >
            {[...pathsOf(drawn, columns)].map(([tone, path]) => (
              <path key={tone} class={`cell ${tone}`} d={path} />
            ))}
          </svg>
        )}
      </div>
      <span class="muted num">
        {hovered === null ? (
          OVERVIEW.exactOfModel(count(exact), count(engines.length))
        ) : (
          <>
            <span class="mono">{hovered.id}</span> {state}
          </>
        )}
      </span>
    </div>
  );
}

function pathsOf(engines: readonly EngineSummary[], columns: number): Map<string, string> {
  const paths = new Map<string, string>();
  engines.forEach((engine, i) => {
    const tone = cellTone(engine);
    const x = (i % columns) * PITCH_X;
    const y = Math.floor(i / columns) * PITCH_Y;
    paths.set(tone, `${paths.get(tone) ?? ""}M${x} ${y}h${CELL_X}v${CELL_Y}h-${CELL_X}z`);
  });
  return paths;
}
