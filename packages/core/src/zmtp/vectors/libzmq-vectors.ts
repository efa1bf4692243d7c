/**
 * The bytes of libzmq 4.3.5, recorded from zeromq.js 6.8 sockets over TCP.
 * Streams begin with the greeting. `apps/sync-daemon/test/zmtp-transport.test.ts` compares the same bytes with a live libzmq.
 */

const GREETING = `ff00000000000000017f0301${"4e554c4c".padEnd(40, "0")}${"00".repeat(32)}`;
const READY_SUB = "04190552454144590b536f636b65742d5479706500000003535542";
const READY_DEALER = "04290552454144590b536f636b65742d54797065000000064445414c4552084964656e7469747900000000";
const READY_PUB = "04190552454144590b536f636b65742d5479706500000003505542";
const READY_PULL = "041a0552454144590b536f636b65742d547970650000000450554c4c";
const READY_ROUTER = "04290552454144590b536f636b65742d5479706500000006524f55544552084964656e7469747900000000";

/** Bytes that a libzmq socket of our types writes until it waits for messages; ours are the same. */
export const LIBZMQ_OWN_SIDE = {
  subscriber: {
    says: "SUB with the topic kv, to a peer of ZMTP 3.1",
    peerMinor: 1,
    topic: "kv",
    hex: `${GREETING}${READY_SUB}040c095355425343524942456b76`,
  },
  subscriberOfAll: {
    says: "SUB with the empty topic, to a peer of ZMTP 3.1",
    peerMinor: 1,
    topic: "",
    hex: `${GREETING}${READY_SUB}040a09535542534352494245`,
  },
  subscriberOfOldPeer: {
    says: "SUB with the topic kv, to a peer of ZMTP 3.0",
    peerMinor: 0,
    topic: "kv",
    hex: `${GREETING}${READY_SUB}0003016b76`,
  },
  subscriberOfAllOfOldPeer: {
    says: "SUB with the empty topic, to a peer of ZMTP 3.0",
    peerMinor: 0,
    topic: "",
    hex: `${GREETING}${READY_SUB}000101`,
  },
  dealer: {
    says: "DEALER that asks for a replay from 10, to a peer of ZMTP 3.1",
    peerMinor: 1,
    topic: null,
    hex: `${GREETING}${READY_DEALER}01000008000000000000000a`,
  },
} as const;

/** Bytes that a libzmq socket of an engine writes, and the messages that they mean (parts as hex). */
export const LIBZMQ_PEER_SIDE = {
  publisher: {
    says: "PUB with a short message and one of 300 bytes",
    type: "SUB",
    hex:
      `${GREETING}${READY_PUB}01026b76010800000000000000070003616263` +
      `01026b760108000000000000000702000000000000012c${"61".repeat(300)}`,
    messages: [
      ["6b76", "0000000000000007", "616263"],
      ["6b76", "0000000000000007", "61".repeat(300)],
    ],
  },
  publisherThatPings: {
    says: "PUB with heartbeats and a time to live of five seconds",
    type: "SUB",
    hex: `${GREETING}${READY_PUB}04070450494e470032`,
    messages: [],
  },
  router: {
    says: "ROUTER that answers a replay request with a message and the end",
    type: "DEALER",
    hex: `${GREETING}${READY_ROUTER}01000108000000000000000700036162630100` + "0108ffffffffffffffff0000",
    messages: [
      ["", "0000000000000007", "616263"],
      ["", "ffffffffffffffff", ""],
    ],
  },
} as const;

/** What a libzmq PULL socket writes: a peer of the wrong type. */
export const LIBZMQ_PULL: string = `${GREETING}${READY_PULL}`;

/** What a libzmq PUB answers to a PING with the context c0ffee. */
export const LIBZMQ_PONG = "040804504f4e47c0ffee";

/** What a libzmq PUB with CURVE shows of itself before it hangs up on another mechanism. */
export const LIBZMQ_CURVE_GREETING: string = `ff00000000000000017f0301${"4355525645".padEnd(40, "0")}${"00".repeat(32)}`;
