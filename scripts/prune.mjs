/**
 * Removes files from a deployed package that Node never reads at run time. These are declarations,
 * source maps, sources, pages, and builds for other platforms and module systems. Licenses stay.
 */
import {
  existsSync,
  lstatSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { basename, join } from "node:path";

import { LICENSE_FILE } from "./notice.mjs";

const UNREAD = /\.(?:d\.[cm]?ts|[cm]?ts|map|md|markdown|tsbuildinfo|flow)$/i;

/** Folders that a package's `exports` lead Node never to, by package. */
const UNUSED_FOLDERS = {
  rxjs: ["dist/bundles", "dist/esm", "dist/esm5", "dist/types", "src"],
  zeromq: ["src", "script"],
};
/** What is left of a folder, by package: cmake-ts is the loader of zeromq's addon, and a build system beside it. */
const USED_FILES = { "cmake-ts": { build: ["loader.js"] } };

/**
 * Prunes.
 *
 * @param folder - of the deployed package; every link in it leads into it.
 */
export function prune(folder) {
  for (const name of readdirSync(folder, { recursive: true })) {
    const path = join(folder, name);
    if (!UNREAD.test(name) || LICENSE_FILE.test(basename(name)) || !existsSync(path)) continue;
    if (lstatSync(path).isFile()) rmSync(path);
  }
  for (const [name, unused] of Object.entries(UNUSED_FOLDERS))
    for (const at of copiesOf(name, folder))
      for (const one of unused) rmSync(join(at, one), { recursive: true, force: true });
  for (const [name, used] of Object.entries(USED_FILES))
    for (const at of copiesOf(name, folder))
      for (const [inside, files] of Object.entries(used))
        for (const one of readdirSync(join(at, inside)))
          if (!files.includes(one)) rmSync(join(at, inside, one), { recursive: true });
  for (const at of copiesOf("zeromq", folder)) keepOwnPlatform(join(at, "build"));
}

function copiesOf(name, folder) {
  const store = join(folder, "node_modules", ".pnpm");
  const copies = readdirSync(store)
    .map((one) => join(store, one, "node_modules", name))
    .filter((one) => existsSync(one));
  return [...new Set(copies.map((one) => realpathSync(one)))];
}

/** Keeps the builds that the loader chooses from here: its manifest names system, processor and C library of each. */
function keepOwnPlatform(build) {
  const path = join(build, "manifest.json");
  // As the loader finds it out.
  const linuxLibc = existsSync("/etc/alpine-release") ? "musl" : "glibc";
  const own = Object.entries(JSON.parse(readFileSync(path, "utf8"))).filter(([key]) => {
    const { os, arch, libc } = JSON.parse(key);
    const isOwnLibc = os !== "linux" || libc === linuxLibc;
    return os === process.platform && arch === process.arch && isOwnLibc;
  });
  if (own.length === 0) throw new Error(`zeromq has no build for ${process.platform} ${process.arch}`);
  const kept = new Set(own.map(([, file]) => join(build, file)));
  for (const name of readdirSync(build, { recursive: true }))
    if (name.endsWith(".node") && !kept.has(join(build, name))) rmSync(join(build, name));
  // A file of its own: pnpm links the files of its store, and writing into this one would change the workspace's.
  rmSync(path);
  writeFileSync(path, JSON.stringify(Object.fromEntries(own)));
}
