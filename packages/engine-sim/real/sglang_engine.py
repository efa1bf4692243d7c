"""Drives SGLang's own RadixCache, event recorder and ZmqEventPublisher by commands on standard input.

The commands are those of vllm_engine.py. A request inserts what it has computed after each step, as
SGLang's chunked prefill and its end do, and locks its branch while it runs; leaves are evicted when
the pool is full. The classes are those of the given installation, unmodified.
"""

import hashlib
import inspect
import json
import os
import sys
import time
from array import array

FOLDER = os.environ["KVSYNC_SGLANG"]
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import stand_ins  # noqa: E402

stand_ins.install(
    FOLDER,
    bare=("sglang", "sglang.srt", "sglang.srt.mem_cache", "sglang.srt.disaggregation"),
    stood_in=(
        "sglang.srt.environ",
        "sglang.srt.managers",
        "sglang.srt.metrics",
        "sglang.srt.observability",
        "sglang.srt.runtime_context",
        "sglang.srt.server_args",
        "sglang.srt.utils",
        "sglang.srt.lora",
        "sglang.srt.mem_cache.memory_pool",
        "sglang.srt.mem_cache.allocator",
        "sglang.srt.mem_cache.unified_cache",
        "sglang.kernels",
        "sglang.jit_kernel",
        "sglang.srt.layers",
        "sglang.srt.distributed",
    ),
)

import sglang.srt.disaggregation.kv_events as kv_events  # noqa: E402
import sglang.srt.mem_cache.base_prefix_cache as base  # noqa: E402
import sglang.srt.mem_cache.radix_cache as radix  # noqa: E402

try:
    import sglang.srt.mem_cache.utils as cache_utils  # noqa: E402
except ImportError:
    # Before 0.5.6 the tree hashes its pages itself.
    cache_utils = None


# Before 0.5.18 keys are lists.
TAKES_ARRAYS = "cache_salt" in inspect.signature(radix.RadixKey.__init__).parameters


def chained_sha256(token_ids, prior_digest, page_size=None):
    """What SGLang's compiled hash computes: SHA-256 over the digest before and the page's tokens."""
    units = list(token_ids)
    size = page_size or max(len(units), 1)
    digests = []
    for start in range(0, len(units), size):
        digest = hashlib.sha256(prior_digest or b"")
        for unit in units[start : start + size]:
            for token in unit if isinstance(unit, tuple) else (unit,):
                digest.update(int(token).to_bytes(4, "little"))
        prior_digest = digest.digest()
        digests.append(prior_digest.hex())
    return digests if page_size else digests[-1]


class Slots(list):
    """Where tokens lie: what the tree does with a tensor of indices, done with a list."""

    def __getitem__(self, index):
        taken = super().__getitem__(index)
        return Slots(taken) if isinstance(index, slice) else taken

    def clone(self):
        return Slots(self)

    def to(self, *args, **kwargs):
        return self


# Indices are lists here: what the tree does to tensors of them.
radix.torch.empty = lambda *args, **kwargs: Slots()
radix.torch.cat = lambda parts: Slots(slot for part in parts for slot in part)

if hasattr(cache_utils, "get_native_hash"):
    cache_utils.get_native_hash = chained_sha256


def accepted(function, **values):
    """The values whose names the function of this version has."""
    names = inspect.signature(function).parameters
    return {name: value for name, value in values.items() if name in names}


class Allocator:
    device = "cpu"

    def __init__(self):
        self.freed = 0

    def free(self, slots):
        self.freed += len(slots)

    def free_segment(self, slots, start_pos=0):
        self.freed += len(slots)


class Running:
    def __init__(self, command):
        self.command = command
        self.tokens = list(command["tokens"])
        self.computed = 0
        self.node = None


class Engine:
    def __init__(self, command):
        (group,) = command["groups"]
        self.page_size = group["blockSize"]
        self.is_eagle = bool(command.get("eagle"))
        self.capacity = command["blocks"] * self.page_size
        self.lora_names = self.make_lora_names()
        create = getattr(radix.RadixCache, "create_simulated", radix.RadixCache)
        self.cache = create(
            **accepted(
                create,
                req_to_token_pool=None,
                token_to_kv_pool_allocator=Allocator(),
                mock_allocator=Allocator(),
                page_size=self.page_size,
                disable=False,
                enable_kv_cache_events=True,
                kv_event_lora_names=self.lora_names,
            )
        )
        self.cache.is_eagle = self.is_eagle
        self.publisher = kv_events.ZmqEventPublisher(
            **accepted(
                kv_events.ZmqEventPublisher.__init__,
                attn_dp_rank=0,
                endpoint=command["endpoint"],
                buffer_steps=1_000_000,
                topic="",
            )
        )
        self.requests = {}
        self.published = 0

    @staticmethod
    def make_lora_names():
        try:
            from sglang.srt.mem_cache.events import KvEventLoraNames
        except ImportError:
            return None
        return KvEventLoraNames()

    def key(self, command, tokens):
        adapter = command.get("lora")
        extra = None
        if adapter is not None:
            extra = f"{ord(adapter[-1]):032x}"
            if self.lora_names is not None:
                self.lora_names.register(lora_id=extra, lora_name=adapter)
                self.lora_names._names[extra] = adapter
        return radix.RadixKey(
            **accepted(
                radix.RadixKey.__init__,
                token_ids=array("q", tokens) if TAKES_ARRAYS else list(tokens),
                extra_key=extra,
                is_bigram=self.is_eagle,
                cache_salt=command.get("salt"),
            )
        )

    def match(self, command, tokens):
        key = self.key(command, tokens)
        if hasattr(base, "MatchPrefixParams"):
            return self.cache.match_prefix(base.MatchPrefixParams(key=key))
        return self.cache.match_prefix(key)

    @staticmethod
    def length(result):
        if hasattr(result, "device_prefix_len"):
            return result.device_prefix_len
        return len(result.device_indices)

    def hit(self, command, tokens):
        if not tokens:
            return 0
        return self.length(self.match(command, tokens))

    def step(self, request, stop):
        """Computes up to `stop` and inserts; false when there is no room."""
        used = self.cache.total_size()
        used = used[0] if isinstance(used, tuple) else used
        wanted = used + stop - request.computed - self.capacity
        if wanted > 0:
            if hasattr(base, "EvictParams"):
                self.cache.evict(base.EvictParams(num_tokens=wanted))
            else:
                self.cache.evict(wanted)
            used = self.cache.total_size()
            if used + stop - request.computed > self.capacity:
                return False
        request.computed = stop
        self.insert(request)
        return True

    def insert(self, request):
        tokens = request.tokens[: request.computed]
        # Before 0.5.18 the caller cuts the key to whole pages.
        whole = len(tokens) // self.page_size * self.page_size
        key = self.key(request.command, tokens if TAKES_ARRAYS else tokens[:whole])
        if hasattr(key, "page_aligned"):
            key = key.page_aligned(self.page_size)
        if not TAKES_ARRAYS and whole == 0:
            return
        value = Slots(range(len(tokens) if TAKES_ARRAYS else whole))
        if hasattr(base, "InsertParams"):
            self.cache.insert(base.InsertParams(key=key, value=value))
        else:
            self.cache.insert(key, value)
        node = self.match(request.command, tokens).last_device_node
        self.cache.inc_lock_ref(node)
        if request.node is not None:
            self.cache.dec_lock_ref(request.node)
        request.node = node

    def start(self, command):
        request = Running(command)
        # The last token is always computed (schedule_policy.py).
        hit = self.hit(command, request.tokens[:-1])
        request.computed = hit
        if hit:
            request.node = self.match(command, request.tokens[:-1]).last_device_node
            self.cache.inc_lock_ref(request.node)
        stop = next((at for at in command["stops"] if at > hit), len(request.tokens))
        if not self.step(request, stop):
            self.unlock(request)
            return {"hit": hit, "computed": -1}
        self.requests[command["id"]] = request
        return {"hit": hit, "computed": request.computed}

    def unlock(self, request):
        if request.node is not None:
            self.cache.dec_lock_ref(request.node)
            request.node = None

    def advance(self, command):
        request = self.requests[command["id"]]
        if not self.step(request, request.computed + command["count"]):
            self.unlock(self.requests.pop(command["id"]))
            return {"computed": -1}
        return {"computed": request.computed}

    def append(self, command):
        self.requests[command["id"]].tokens.extend(command["tokens"])
        return {}

    def free(self, command):
        self.unlock(self.requests.pop(command["id"]))
        return {}

    def reset(self, command):
        self.cache.reset()
        return {"done": True}

    def publish(self, command):
        events = (
            self.cache.take_events()
            if not hasattr(self.cache, "kv_events")
            else self.cache.kv_events.take()
        )
        if events:
            self.publisher.publish(kv_events.KVEventBatch(ts=time.time(), events=events))
            self.published += 1
        return {"published": self.published}

    def ask(self, command):
        tokens = command["tokens"]
        return {"held": self.hit(command, tokens), "reused": self.hit(command, tokens[:-1])}


def main():
    engine = None
    for line in sys.stdin:
        command = json.loads(line)
        if command["do"] == "open":
            engine = Engine(command)
            answer = {"opened": True}
        elif command["do"] == "close":
            engine.publisher.shutdown()
            answer = {"closed": True}
            engine = None
        else:
            answer = getattr(engine, command["do"])(command)
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


main()
