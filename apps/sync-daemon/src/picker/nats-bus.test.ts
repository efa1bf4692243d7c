/** The bus against a real NATS server. */
import { execFileSync, spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join as joinPath } from "node:path";
import { freePort } from "@kvsync/engine-sim";
import { nkeys } from "@nats-io/transport-node";
import { afterEach, describe, expect, it, vi } from "vitest";

import { Authority } from "../../test/certificates.ts";
import { NatsBus, type NatsBusSettings } from "./nats-bus.ts";

const HAS_NATS = isThere("nats-server");

function isThere(program: string): boolean {
  try {
    execFileSync(program, ["--version"], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}

const cleanup: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of cleanup.splice(0).reverse()) await end();
});

async function startNats(port: number, config: string | null = null): Promise<ChildProcess> {
  const more = config === null ? [] : ["-c", config];
  const child = spawn("nats-server", ["-a", "127.0.0.1", "-p", String(port), ...more], { stdio: "ignore" });
  cleanup.push(() => stopNats(child));
  await vi.waitFor(
    async () => {
      const socket = connect(port, "127.0.0.1");
      await once(socket, "connect");
      socket.destroy();
    },
    { timeout: 20_000 },
  );
  return child;
}

async function stopNats(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill("SIGKILL");
  await once(child, "exit");
}

interface Listener {
  readonly bus: NatsBus;
  readonly heard: string[];
  readonly states: string[];
  readonly errors: string[];
}

const NO_FILES = { caFile: null, certFile: null, keyFile: null };

function join(
  port: number,
  { subject = "kvsync.picker.a", ...more }: Partial<NatsBusSettings> = {},
): Listener & { readonly unsent: () => number } {
  const heard: string[] = [];
  const states: string[] = [];
  const errors: string[] = [];
  let unsent = 0;
  const bus = new NatsBus(
    { url: `nats://127.0.0.1:${port}`, credentialsFile: null, tls: NO_FILES, subject, ...more },
    {
      heard: (bytes) => heard.push(Buffer.from(bytes).toString()),
      connected: () => states.push("connected"),
      lost: (error) => {
        states.push("lost");
        errors.push(error?.message ?? "");
      },
      unsent: () => (unsent += 1),
    },
  );
  cleanup.push(() => bus.close());
  return { bus, heard, states, errors, unsent: () => unsent };
}

/** A token as NATS takes it: claims of `subject`, signed by `issuer`. */
function tokenOf(issuer: KeyPair, subject: KeyPair, nats: object): string {
  const part = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString("base64url");
  const claims = {
    jti: subject.getPublicKey(),
    iat: 1,
    iss: issuer.getPublicKey(),
    sub: subject.getPublicKey(),
  };
  const signed = `${part({ typ: "JWT", alg: "ed25519-nkey" })}.${part({ ...claims, name: "test", nats })}`;
  return `${signed}.${Buffer.from(issuer.sign(Buffer.from(signed))).toString("base64url")}`;
}

type KeyPair = ReturnType<typeof nkeys.createUser>;

/** A server that wants TLS with a client's certificate, and credentials of its account. */
async function secured(port: number) {
  const folder = mkdtempSync(joinPath(tmpdir(), "kvsync-nats-"));
  cleanup.push(() => {
    rmSync(folder, { recursive: true });
  });
  const file = (name: string, text: string): string => {
    const path = joinPath(folder, name);
    writeFileSync(path, text);
    return path;
  };
  const [operator, account, user] = [nkeys.createOperator(), nkeys.createAccount(), nkeys.createUser()];
  const all = { subs: -1, data: -1, payload: -1 };
  const limits = { ...all, imports: -1, exports: -1, wildcards: true, conn: -1, leaf: -1 };
  const operatorToken = tokenOf(operator, operator, { type: "operator", version: 2 });
  const accountToken = tokenOf(operator, account, { type: "account", version: 2, limits });
  const userToken = tokenOf(account, user, { type: "user", version: 2, ...all });
  const seed = Buffer.from(user.getSeed()).toString();
  const creds = [
    ["NATS USER JWT", userToken],
    ["USER NKEY SEED", seed],
  ].map(([name, text]) => `-----BEGIN ${name}-----\n${text}\n------END ${name}------\n`);
  const authority = await Authority.make();
  const [server, client] = [await authority.sign("nats"), await authority.sign("picker")];
  const tls = {
    caFile: file("ca.pem", authority.cert),
    certFile: file("client.pem", client.cert),
    keyFile: file("client-key.pem", client.key),
  };
  const config = file(
    "nats.conf",
    `operator: ${operatorToken}
     resolver: MEMORY
     resolver_preload: { ${account.getPublicKey()}: ${accountToken} }
     tls: { cert_file: "${file("server.pem", server.cert)}", key_file: "${file("server-key.pem", server.key)}",
            ca_file: "${tls.caFile}", verify: true }`,
  );
  await startNats(port, config);
  return { tls, credentialsFile: file("user.creds", creds.join("\n")), file };
}

async function isIn(state: string, ...listeners: readonly Listener[]): Promise<void> {
  for (const { states } of listeners)
    await vi.waitFor(() => {
      expect(states.at(-1)).toBe(state);
    }, 20_000);
}

function publish({ bus }: Listener, text: string): void {
  bus.publish(Buffer.from(text));
}

/** Until a message arrives: the other's subscription may reach the server after ours was connected. */
async function arrives(by: Listener, at: Listener, text: string): Promise<void> {
  await vi.waitFor(() => {
    publish(by, text);
    expect(at.heard).toContain(text);
  }, 20_000);
}

// In CI the program is there; elsewhere the test is skipped by its name.
describe.skipIf(!HAS_NATS && process.env["CI"] === undefined)("the bus over nats-server", () => {
  it("N1: brings a message to the other pickers of its subject, and to nobody else", async () => {
    const port = await freePort();
    await startNats(port);
    const [one, two, three, stranger] = [
      join(port),
      join(port),
      join(port),
      join(port, { subject: "kvsync.picker.b" }),
    ];
    await isIn("connected", one, two, three, stranger);
    await arrives(one, two, "first");
    await arrives(one, three, "second");
    await arrives(two, one, "third");
    expect(one.heard).not.toContain("first");
    expect(stranger.heard).toEqual([]);
  }, 60_000);

  it("N2, N3: loses what is published while NATS is away, without an error, and works again when it is back", async () => {
    const port = await freePort();
    const [one, two] = [join(port), join(port)];
    await isIn("lost", one, two);
    publish(one, "before");
    expect([one.bus.dropped, one.unsent()]).toEqual([1, 1]);
    const nats = await startNats(port);
    await isIn("connected", one, two);
    await arrives(one, two, "first");
    await stopNats(nats);
    await isIn("lost", one, two);
    publish(one, "meanwhile");
    await startNats(port);
    await isIn("connected", one, two);
    await arrives(two, one, "again");
    await arrives(one, two, "last");
    expect(two.heard).not.toContain("meanwhile");
    expect(two.heard).not.toContain("before");
  }, 90_000);

  it("N4: joins a server that wants TLS, a certificate and credentials, and takes files that came later", async () => {
    const port = await freePort();
    const { tls, credentialsFile, file } = await secured(port);
    // The client checks no address: a server with TLS goes by its name.
    const url = `tls://localhost:${port}`;
    const [one, two] = [join(port, { url, tls, credentialsFile }), join(port, { url, tls, credentialsFile })];
    await isIn("connected", one, two);
    await arrives(one, two, "sealed");
    const stranger = await Authority.make();
    const doubtful = join(port, {
      url,
      credentialsFile,
      tls: { ...tls, caFile: file("other.pem", stranger.cert) },
    });
    const unnamed = join(port, { url, tls });
    await isIn("lost", doubtful, unnamed);
    expect(doubtful.errors.at(-1)).toMatch(/certificate/);
    expect(unnamed.errors.at(-1)).toMatch(/authorization/i);
    const late = join(port, { url, tls, credentialsFile: joinPath(credentialsFile, "..", "late.creds") });
    await isIn("lost", late);
    file("late.creds", readFileSync(credentialsFile, "utf8"));
    await isIn("connected", late);
    await arrives(late, one, "late");
  }, 90_000);

  it("N4: refuses a server without TLS where an authority is set", async () => {
    const port = await freePort();
    await startNats(port);
    const authority = await Authority.make();
    const folder = mkdtempSync(joinPath(tmpdir(), "kvsync-nats-"));
    cleanup.push(() => {
      rmSync(folder, { recursive: true });
    });
    const caFile = joinPath(folder, "ca.pem");
    writeFileSync(caFile, authority.cert);
    const careful = join(port, { tls: { ...NO_FILES, caFile } });
    await isIn("lost", careful);
    expect(careful.states).not.toContain("connected");
  }, 60_000);
});
