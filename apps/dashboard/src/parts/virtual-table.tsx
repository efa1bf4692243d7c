/**
 * A table of any number of rows that draws only those in sight.
 *
 *     space above │ rows in sight and a few around them │ space below          every row has ROW_HEIGHT
 *
 * Columns that do not fit into the width are left out, the least important first. So nothing is cut off, and no row moves sideways.
 *
 * `role=grid` with row numbers for screen readers. Arrow keys, Page Up, Page Down, Home and End move, Enter opens.
 */
import type { ComponentChildren, RefObject } from "preact";
import { useLayoutEffect, useRef, useState } from "preact/hooks";

/** A column. */
export interface Column<Row> {
  readonly key: string;
  readonly title: string;
  /** Pixels that it needs, and its share of a larger width. */
  readonly width: number;
  /** Where columns do not fit, the largest number is left out first; a column without one stays. */
  readonly leaves?: number;
  readonly isNumber?: boolean;
  readonly isSortable?: boolean;
  readonly cell: (row: Row) => ComponentChildren;
}

/** What the table shows. */
export interface VirtualTableProps<Row> {
  readonly label: string;
  readonly columns: readonly Column<Row>[];
  readonly rows: readonly Row[];
  readonly keyOf: (row: Row) => string;
  readonly classOf?: (row: Row) => string;
  readonly sort: { readonly key: string; readonly isAscending: boolean } | null;
  readonly onSort: (key: string) => void;
  readonly onOpen: (row: Row) => void;
  /** Gets the rows that are drawn, after each drawing. */
  readonly onSight?: (rows: readonly Row[]) => void;
  /** Key of the row that is open. */
  readonly open: string | null;
}

/** Pixels of every row: td's height in parts.css and its border. */
const ROW_HEIGHT = 32;
const HEAD_HEIGHT = 31;
/** Rows drawn above and below those in sight. */
const AROUND = 6;

/** The table. */
export function VirtualTable<Row>(props: VirtualTableProps<Row>): ComponentChildren {
  const { rows, keyOf, classOf, open, onOpen } = props;
  const box = useRef<HTMLDivElement>(null);
  const [view, setView] = useSight(box);
  const columns = fitting(props.columns, view.width);
  const [focus, setFocus] = useState(0);
  const isFocusWanted = useRef(false);
  const focused = Math.min(focus, Math.max(0, rows.length - 1));
  const first = Math.max(0, Math.floor(view.top / ROW_HEIGHT) - AROUND);
  const end = Math.min(rows.length, Math.ceil((view.top + view.height) / ROW_HEIGHT) + AROUND);
  const perPage = Math.max(1, Math.floor((view.height - HEAD_HEIGHT) / ROW_HEIGHT) - 1);
  const move = (to: number): void => {
    const next = Math.max(0, Math.min(rows.length - 1, to));
    isFocusWanted.current = true;
    setFocus(next);
    scrollTo(box.current, next);
  };
  const drawn = rows.slice(first, end);
  useLayoutEffect(() => {
    props.onSight?.(drawn);
  });
  useLayoutEffect(() => {
    if (!isFocusWanted.current) return;
    const row = box.current?.querySelector<HTMLElement>(`[data-index="${focused}"]`);
    if (row === null || row === undefined) return;
    isFocusWanted.current = false;
    row.focus({ preventScroll: true });
  });
  return (
    <div
      class="scroll engines-table"
      ref={box}
      onScroll={(event) => {
        const { scrollTop, clientHeight, clientWidth } = event.currentTarget;
        setView({ top: scrollTop, height: clientHeight, width: clientWidth });
      }}
    >
      <table
        role="grid"
        aria-label={props.label}
        aria-rowcount={rows.length + 1}
        aria-colcount={props.columns.length}
        onKeyDown={(event) => {
          const to = targetOf(event.key, focused, perPage, rows.length);
          if (to !== null) {
            event.preventDefault();
            move(to);
          }
        }}
      >
        <colgroup>
          {columns.map(({ key, width }) => (
            <col key={key} style={{ width: `${width}px` }} />
          ))}
        </colgroup>
        <Head {...props} columns={columns} all={props.columns} />
        <tbody>
          <Space rows={first} columns={columns.length} />
          {drawn.map((row, i) => {
            const index = first + i;
            const key = keyOf(row);
            return (
              <tr
                key={key}
                role="row"
                data-index={index}
                aria-rowindex={index + 2}
                aria-selected={key === open}
                tabIndex={index === Math.max(first, Math.min(focused, end - 1)) ? 0 : -1}
                class={`row ${key === open ? "sel" : ""} ${classOf?.(row) ?? ""}`}
                onFocus={() => {
                  setFocus(index);
                }}
                onClick={() => {
                  onOpen(row);
                }}
                onKeyDown={(event) => {
                  if (event.key === "Enter" && event.target === event.currentTarget) onOpen(row);
                }}
              >
                {columns.map((column) => (
                  <td
                    key={column.key}
                    role="gridcell"
                    aria-colindex={props.columns.indexOf(column) + 1}
                    class={column.isNumber === true ? "num" : ""}
                  >
                    {column.cell(row)}
                  </td>
                ))}
              </tr>
            );
          })}
          <Space rows={rows.length - end} columns={columns.length} />
        </tbody>
      </table>
    </div>
  );
}

/** What of a scrolled box is in sight, in pixels, and a function to note that it changed. */
function useSight(box: RefObject<HTMLDivElement | null>): [Sight, (sight: Sight) => void] {
  const [sight, setSight] = useState<Sight>({ top: 0, height: 640, width: Number.POSITIVE_INFINITY });
  // Before the first picture: no column is drawn that does not fit.
  useLayoutEffect(() => {
    const element = box.current;
    if (element === null) return undefined;
    const look = (): void => {
      const { scrollTop, clientHeight, clientWidth } = element;
      setSight({ top: scrollTop, height: clientHeight, width: clientWidth });
    };
    look();
    const observer = new ResizeObserver(look);
    observer.observe(element);
    return () => {
      observer.disconnect();
    };
  }, []);
  return [sight, setSight];
}

interface Sight {
  readonly top: number;
  readonly height: number;
  readonly width: number;
}

/** The columns that fit into a width. */
function fitting<Row>(columns: readonly Column<Row>[], width: number): readonly Column<Row>[] {
  let shown = columns;
  const leaving = columns
    .filter(({ leaves }) => leaves !== undefined)
    .sort((a, b) => (b.leaves ?? 0) - (a.leaves ?? 0));
  for (const column of leaving) {
    if (shown.reduce((sum, one) => sum + one.width, 0) <= width) break;
    shown = shown.filter((one) => one !== column);
  }
  return shown;
}

function Head<Row>({
  columns,
  all,
  sort,
  onSort,
}: VirtualTableProps<Row> & { readonly all: readonly Column<Row>[] }): ComponentChildren {
  return (
    <thead>
      <tr role="row" aria-rowindex={1}>
        {columns.map((column) => {
          const { key, title, isNumber = false, isSortable = true } = column;
          const isSorted = sort?.key === key;
          return (
            <th
              key={key}
              role="columnheader"
              aria-colindex={all.indexOf(column) + 1}
              scope="col"
              class={isNumber ? "num" : ""}
              {...(isSorted ? { "aria-sort": sort.isAscending ? "ascending" : "descending" } : {})}
            >
              {isSortable ? (
                <button
                  type="button"
                  onClick={() => {
                    onSort(key);
                  }}
                >
                  {title}
                  {isSorted ? (sort.isAscending ? " ↑" : " ↓") : ""}
                </button>
              ) : (
                title
              )}
            </th>
          );
        })}
      </tr>
    </thead>
  );
}

/** The height of rows that are not drawn. */
function Space({ rows, columns }: { readonly rows: number; readonly columns: number }): ComponentChildren {
  return rows <= 0 ? null : (
    <tr class="space" aria-hidden="true">
      <td colSpan={columns} style={{ height: `${rows * ROW_HEIGHT}px` }} />
    </tr>
  );
}

function scrollTo(box: HTMLDivElement | null, index: number): void {
  if (box === null) return;
  const top = index * ROW_HEIGHT;
  const bottom = top + ROW_HEIGHT + HEAD_HEIGHT;
  if (top < box.scrollTop) box.scrollTop = top;
  else if (bottom > box.scrollTop + box.clientHeight) box.scrollTop = bottom - box.clientHeight;
}

/** Where a key moves to; null when it does not move. */
function targetOf(key: string, from: number, perPage: number, rows: number): number | null {
  switch (key) {
    case "ArrowDown":
      return from + 1;
    case "ArrowUp":
      return from - 1;
    case "PageDown":
      return from + perPage;
    case "PageUp":
      return from - perPage;
    case "Home":
      return 0;
    case "End":
      return rows - 1;
    default:
      return null;
  }
}
