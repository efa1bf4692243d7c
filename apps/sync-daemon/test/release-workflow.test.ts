/**
 * The release workflow without a network. Its own commands run in bash, as they do there. Stand-ins for npm and docker record their
 * calls. Helm packages the chart itself, and its upload is recorded.
 */
import { spawnSync } from "node:child_process";
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { parse } from "yaml";

interface Step {
  readonly name?: string;
  readonly uses?: string;
  readonly run?: string;
  readonly with?: Readonly<Record<string, unknown>>;
  readonly env?: Readonly<Record<string, string>>;
}
interface Job {
  readonly needs?: string;
  readonly permissions?: Readonly<Record<string, string>>;
  readonly steps: readonly Step[];
}

const ROOT = fileURLToPath(new URL("../../../", import.meta.url));
const WORKFLOW = join(ROOT, ".github", "workflows", "release.yml");
const { on, jobs } = parse(readFileSync(WORKFLOW, "utf8")) as {
  readonly on: { readonly push: { readonly tags: readonly string[] } };
  readonly jobs: Readonly<Record<"check" | "npm" | "image" | "chart", Job>>;
};
const { version: VERSION } = JSON.parse(
  readFileSync(join(ROOT, "packages", "core", "package.json"), "utf8"),
) as { version: string };
/** Of a program that may be missing here: continuous integration has it. */
const has = (program: string): boolean =>
  process.env["CI"] !== undefined || spawnSync(program, ["--help"]).error === undefined;

let folder = "";
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "kvsync-release-"));
});
afterEach(() => {
  rmSync(folder, { recursive: true });
});

/** Puts a program on the path that records its arguments, and then does this. */
function standIn(name: string, script = ""): void {
  mkdirSync(join(folder, "bin"), { recursive: true });
  const path = join(folder, "bin", name);
  writeFileSync(path, `#!/bin/sh\necho "${name} $*" >>"${folder}/calls"\n${script}\n`);
  chmodSync(path, 0o755);
}

/** Runs the commands of a job, in its order, and returns what the stand-ins recorded. */
function runJob(job: Job, env: Readonly<Record<string, string>>): readonly string[] {
  for (const { run } of job.steps.filter((step) => step.run !== undefined)) {
    const { status, stderr } = spawnSync("bash", ["-e", "-o", "pipefail", "-c", run ?? ""], {
      cwd: folder,
      encoding: "utf8",
      env: {
        PATH: `${join(folder, "bin")}:${process.env["PATH"] ?? ""}`,
        HOME: folder,
        GITHUB_REF_NAME: `v${VERSION}`,
        GITHUB_SHA: "0123456789abcdef",
        GITHUB_OUTPUT: join(folder, "output"),
        ...env,
      },
    });
    expect([status, stderr]).toEqual([0, expect.not.stringContaining("error")]);
  }
  const path = join(folder, "calls");
  return existsSync(path) ? readFileSync(path, "utf8").trimEnd().split("\n") : [];
}

test("jobs follow each other, and those that can publish neither install nor test", () => {
  expect(Object.entries(jobs).map(([name, { needs }]) => [name, needs])).toEqual([
    ["check", undefined],
    ["npm", "check"],
    ["image", "npm"],
    ["chart", "image"],
  ]);
  expect(jobs.check).not.toHaveProperty("environment");
  expect(jobs.check.permissions).toBeUndefined();
  const publishing = [jobs.npm, jobs.image, jobs.chart].flatMap(({ steps }) => steps);
  for (const { run = "", uses = "", with: options } of publishing) {
    expect(run).not.toMatch(/npx|npm (?:ci|install|run|test)|\.ci\/run|\bnode /);
    if (uses.startsWith("actions/checkout@")) expect(options).toEqual({ "persist-credentials": false });
  }
  expect(jobs.npm.permissions).toEqual({ contents: "read", "id-token": "write" });
});

describe("the check of a tag", () => {
  function check(tag: string): { status: number | null; output: string } {
    const args = [join(ROOT, "scripts", "release-check.mjs"), tag];
    const { status, stdout, stderr } = spawnSync(process.execPath, args, { encoding: "utf8" });
    return { status, output: `${stdout}${stderr}` };
  }

  test("names each file that has another version", () => {
    const { status, output } = check("v99.0.0");
    expect(status).toBe(1);
    for (const path of [
      "packages/core/package.json",
      "infra/helm/kvsync/Chart.yaml",
      "infra/kubernetes/kustomization.yaml",
      "CHANGELOG.md",
    ])
      expect(output).toContain(`${path} has ${VERSION}; expected 99.0.0`);
  });

  test("of this version it finds no fault but changes that wait for the next one", () => {
    const { output } = check(`v${VERSION}`);
    const lines = output.trimEnd().split("\n");
    const waiting = `CHANGELOG.md has changes under [Unreleased]; expected them under [${VERSION}]`;
    expect([[waiting], [`v${VERSION} can be released`]]).toContainEqual(lines);
  });

  test.each(["v1", "1.2.3", "v1.2.3-rc.1", "vnext"])("%s is no version's tag", (tag) => {
    expect(check(tag).status).toBe(2);
    expect(on.push.tags).toEqual(["v[0-9]+.[0-9]+.[0-9]+"]);
  });
});

describe("digests of the images that files name by tag", () => {
  function digests(): { status: number | null; stdout: string; stderr: string } {
    return spawnSync(process.execPath, [join(ROOT, "scripts", "image-digests.mjs")], {
      encoding: "utf8",
      env: { ...process.env, PATH: `${join(folder, "bin")}:${process.env["PATH"] ?? ""}` },
    });
  }

  test("the check job asks for them, of registries only", () => {
    const step = jobs.check.steps.find(({ run = "" }) => run.includes("image-digests.mjs"));
    expect(step?.run).toMatch(/> \.cache\/images\.yaml$/);
    standIn("docker", "printf 'sha256:%064d' 7");
    expect(digests().status).toBe(0);
    for (const call of readFileSync(join(folder, "calls"), "utf8").trimEnd().split("\n"))
      expect(call).toMatch(
        /^docker buildx imagetools inspect \S+\/\S+:\S+ --format \{\{\.Manifest\.Digest\}\}$/,
      );
  });

  test.skipIf(!has("kubectl"))(
    "as part of a kustomization they pin every image of the monitoring stack",
    () => {
      standIn("docker", "printf 'sha256:%064d' 7");
      cpSync(join(ROOT, "infra", "kubernetes"), join(folder, "kubernetes"), { recursive: true });
      const path = join(folder, "kubernetes", "monitoring", "kustomization.yaml");
      writeFileSync(path, `${readFileSync(path, "utf8")}${digests().stdout}`);
      const { status, stdout, stderr } = spawnSync("kubectl", ["kustomize", join(path, "..")], {
        encoding: "utf8",
        maxBuffer: 64 * 1024 * 1024,
      });
      expect([status, stderr]).toEqual([0, ""]);
      const images = [...stdout.matchAll(/^\s+(?:- )?image: (\S+)$/gm)].map(([, image]) => image);
      expect(images).toHaveLength(8);
      for (const image of images) expect(image).toMatch(/^\S+\/\S+@sha256:0{63}7$/);
    },
  );

  test("a tag that a registry lacks is named, and fails", () => {
    standIn("docker", 'case $* in *loki*) echo "not found" >&2; exit 1 ;; esac; printf "sha256:%064d" 7');
    const { status, stdout, stderr } = digests();
    expect([status, stderr]).toEqual([
      1,
      expect.stringMatching(/^\S+\/loki:\S+ has no digest: not found\n$/),
    ]);
    expect(stdout).not.toContain("loki");
  });
});

test.skipIf(!has("jq"))(
  "each tarball is published with provenance, and a repeated run leaves out those that are there",
  () => {
    standIn("npm", 'case $* in "view @kvsync/core@"*|publish*) ;; *) exit 1 ;; esac');
    mkdirSync(join(folder, "tarballs"));
    for (const name of ["client", "core", "routing"]) {
      const source = join(folder, name, "package");
      mkdirSync(source, { recursive: true });
      writeFileSync(
        join(source, "package.json"),
        JSON.stringify({ name: `@kvsync/${name}`, version: VERSION }),
      );
      const tarball = join(folder, "tarballs", `kvsync-${name}-${VERSION}.tgz`);
      spawnSync("tar", ["-czf", tarball, "-C", join(folder, name), "package"]);
    }
    const published = runJob(jobs.npm, {}).filter((call) => call.startsWith("npm publish"));
    expect(published).toEqual(
      ["client", "routing"].map(
        (name) => `npm publish tarballs/kvsync-${name}-${VERSION}.tgz --provenance --access public`,
      ),
    );
  },
);

test.skipIf(!has("jq"))(
  "the image has the tag that chart and manifests ask for, and its digest is what is attested",
  () => {
    const metadata = JSON.stringify({ "containerimage.digest": "sha256:abc" });
    standIn(
      "docker",
      `case $1 in buildx) echo '${metadata}' >metadata.json ;; login) cat >/dev/null ;; esac`,
    );
    const calls = runJob(jobs.image, {
      IMAGE: "registry.example/team/kvsync-daemon",
      TARGET: "daemon",
      REGISTRY_USER: "robot",
      REGISTRY_PASSWORD: "SECRET",
    });
    expect(calls[0]).toBe("docker login registry.example --username robot --password-stdin");
    expect(calls[1]).toContain(`--tag registry.example/team/kvsync-daemon:${VERSION} --push .`);
    for (const option of ["--target daemon", "--sbom=true", "--provenance=mode=max"])
      expect(calls[1]).toContain(option);
    expect(calls.join("\n")).not.toContain("SECRET");
    expect(readFileSync(join(folder, "output"), "utf8")).toBe("digest=sha256:abc\n");
    const { appVersion } = parse(readFileSync(join(ROOT, "infra/helm/kvsync/Chart.yaml"), "utf8")) as {
      appVersion: string;
    };
    expect(appVersion).toBe(VERSION);
  },
);

test.skipIf(!has("helm"))("the chart is packaged under the name that is pushed", () => {
  const helm = spawnSync("sh", ["-c", "command -v helm"], { encoding: "utf8" }).stdout.trim();
  standIn(
    "helm",
    `case $1 in package) exec "${helm}" "$@" ;; registry) cat >/dev/null ;; push) test -e "$2" ;; esac`,
  );
  mkdirSync(join(folder, "infra", "helm"), { recursive: true });
  cpSync(join(ROOT, "infra", "helm", "kvsync"), join(folder, "infra", "helm", "kvsync"), { recursive: true });
  const calls = runJob(jobs.chart, {
    REGISTRY: "registry.example/team",
    REGISTRY_USER: "robot",
    REGISTRY_PASSWORD: "SECRET",
  });
  expect(calls).toEqual([
    "helm package infra/helm/kvsync --destination .cache",
    "helm registry login registry.example --username robot --password-stdin",
    `helm push .cache/kvsync-${VERSION}.tgz oci://registry.example/team/charts`,
  ]);
});
