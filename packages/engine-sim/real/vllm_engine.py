"""Drives vLLM's own KVCacheManager and ZmqEventPublisher by commands on standard input.

One JSON object a line comes in and one goes out. The classes are those of the given installation,
unmodified; README.md lists what is stood in for. Commands:

    {"do": "open", "groups": [...], "blocks": n, ...}   makes the manager and the publisher
    {"do": "start", "id", "tokens", "stops", ...}       looks a prompt up and computes on to a stop
    {"do": "advance", "id", "count"}                    computes further tokens
    {"do": "append", "id", "tokens"}                    appends output
    {"do": "free", "id"}                                ends the request
    {"do": "reset"}                                     resets the prefix cache
    {"do": "publish"}                                   publishes the events of the step
    {"do": "ask", "tokens", ...}                        the engine's own hit for a prompt

The answer of `ask` has two numbers of tokens: `held`, the hit without the engine's rule that the
last token is always computed, and `reused`, the hit that a request with this prompt gets.
"""

import inspect
import itertools
import json
import math
import os
import sys
import time

os.environ.setdefault("PYTHONHASHSEED", "0")
os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")

FOLDER = os.environ["KVSYNC_VLLM"]
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import stand_ins  # noqa: E402

stand_ins.install(
    FOLDER,
    bare=("vllm", "vllm.distributed", "vllm.multimodal", "vllm.config"),
    stood_in=(
        "vllm.sampling_params",
        "vllm.pooling_params",
        "vllm.lora",
        "vllm.platforms",
        "vllm.model_executor",
        "vllm.compilation",
        "vllm.inputs",
        "vllm.ray",
        "vllm.multimodal.media",
        "vllm.multimodal.audio",
        "vllm.multimodal.image",
        "vllm.multimodal.video",
        "vllm.distributed.device_communicators",
        "vllm.distributed.parallel_state",
        "vllm.v1.attention",
        "vllm.v1.metrics",
        "vllm.v1.structured_output",
    ),
)

from vllm.distributed import kv_events  # noqa: E402
from vllm.v1 import kv_cache_interface as interface  # noqa: E402
from vllm.v1.core import kv_cache_utils  # noqa: E402
from vllm.v1.core.kv_cache_manager import KVCacheManager  # noqa: E402
from vllm.v1.request import Request  # noqa: E402


def accepted(function, **values):
    """The values whose names the function of this version has."""
    names = inspect.signature(function).parameters
    return {name: value for name, value in values.items() if name in names}


class Sampling:
    """What a Request reads of its sampling parameters."""

    def __init__(self, report):
        self.max_tokens = 1 << 20
        self.extra_args = {"kv_cache_report_mode": "full"} if report else None
        self.prompt_logprobs = None
        self.skip_reading_prefix_cache = False
        self.structured_outputs = None
        self.guided_decoding = None


class Adapter:
    """What the cache reads of a LoRA request."""

    def __init__(self, name, number):
        self.name = self.lora_name = name
        self.adapter_id = self.lora_int_id = self.id = number
        self.lora_path = f"/adapters/{name}"


def make_spec(group):
    common = {
        "block_size": group["blockSize"],
        "num_kv_heads": 1,
        "head_size": 1,
        "dtype": None,
        "use_mla": False,
    }
    kind = group["kind"]
    if kind == "full":
        return build(interface.FullAttentionSpec, **common)
    if kind == "window":
        return build(interface.SlidingWindowSpec, **common, sliding_window=group["window"])
    if kind == "chunked":
        return build(
            interface.ChunkedLocalAttentionSpec, **common, attention_chunk_size=group["chunk"]
        )
    assert kind == "mamba", kind
    return build(
        interface.MambaSpec,
        block_size=group["blockSize"],
        shapes=((1,),),
        dtypes=(None,),
        mamba_cache_mode="align",
    )


def build(cls, **values):
    made = object.__new__(cls)
    # Sizes of pages are for the GPU; the cache reads the fields.
    for name, field in getattr(cls, "__dataclass_fields__", {}).items():
        default = field.default
        if default is inspect._empty or type(default).__name__ == "_MISSING_TYPE":
            default = None
        object.__setattr__(made, name, values.get(name, default))
    return made


class Engine:
    def __init__(self, command):
        specs = [make_spec(group) for group in command["groups"]]
        groups = [
            interface.KVCacheGroupSpec(
                **accepted(
                    interface.KVCacheGroupSpec,
                    layer_names=[f"layer{number}"],
                    kv_cache_spec=spec,
                    is_eagle_group=bool(group.get("eagle")),
                )
            )
            for number, (group, spec) in enumerate(zip(command["groups"], specs))
        ]
        sizes = [group["blockSize"] for group in command["groups"]]
        self.scheduler_block_size = math.lcm(*sizes)
        self.hash_block_size = command.get("hashBlockSize") or math.gcd(*sizes)
        self.lookahead = command.get("lookahead", 0)
        # Lookahead hashes replace the drop of the last block (v1/core/sched/scheduler.py).
        config = interface.KVCacheConfig(
            **accepted(
                interface.KVCacheConfig,
                num_blocks=command["blocks"],
                kv_cache_tensors=[],
                kv_cache_groups=groups,
            )
        )
        self.max_model_len = command.get("maxModelLen", 4096)
        self.hash_function = self.find_hash_function(command.get("hash"))
        if hasattr(kv_cache_utils, "init_none_hash"):
            kv_cache_utils.init_none_hash(self.hash_function)
        self.hasher = None
        if hasattr(kv_cache_utils, "get_request_block_hasher"):
            make = kv_cache_utils.get_request_block_hasher
            first = next(iter(inspect.signature(make).parameters))
            self.hasher = make(
                **{first: self.hash_block_size},
                **accepted(
                    make,
                    caching_hash_fn=self.hash_function,
                    num_hash_lookahead_tokens=self.lookahead,
                ),
            )
        elif command.get("hash"):
            self.builtin_algorithm = command["hash"]
        self.manager = KVCacheManager(
            **accepted(
                KVCacheManager,
                kv_cache_config=config,
                max_model_len=self.max_model_len,
                scheduler_block_size=self.scheduler_block_size,
                hash_block_size=self.hash_block_size,
                enable_caching=True,
                caching_hash_algo=command.get("hash") or "builtin",
                use_eagle=bool(command.get("eagle")) and not self.lookahead,
                num_hash_lookahead_tokens=self.lookahead,
                num_prefill_lookahead=self.lookahead,
                log_stats=False,
                enable_kv_cache_events=True,
            )
        )
        self.publisher = kv_events.ZmqEventPublisher(
            data_parallel_rank=0,
            endpoint=command["endpoint"],
            replay_endpoint=command.get("replayEndpoint"),
            buffer_steps=1_000_000,
            topic="",
        )
        self.requests = {}
        self.published = 0
        self.ask_number = 0

    @staticmethod
    def find_hash_function(name):
        try:
            from vllm.utils.hashing import get_hash_fn_by_name

            return get_hash_fn_by_name(name or "sha256")
        except ImportError:
            pass
        import vllm.utils as utils

        for candidate in (name, "sha256"):
            if candidate and hasattr(utils, candidate):
                return getattr(utils, candidate)
        return None

    def request(self, command, identity):
        adapter = command.get("lora")
        return Request(
            **accepted(
                Request,
                request_id=identity,
                prompt_token_ids=list(command["tokens"]),
                multi_modal_inputs=None,
                multi_modal_hashes=None,
                multi_modal_placeholders=None,
                sampling_params=Sampling(command.get("report", False)),
                pooling_params=None,
                eos_token_id=None,
                arrival_time=0.0,
                lora_request=None if adapter is None else Adapter(adapter, command["loraNumber"]),
                cache_salt=command.get("salt"),
                block_hasher=self.hasher,
            )
        )

    def start(self, command):
        request = self.request(command, command["id"])
        found = self.manager.get_computed_blocks(request)
        blocks, hit = found[0], found[1]
        if len(found) > 2:
            request.shared_prefix_boundary = found[2]
        stop = next((at for at in command["stops"] if at > hit), len(command["tokens"]))
        count = stop - hit
        if self.manager.allocate_slots(request, count, hit, blocks) is None:
            # An engine would keep it waiting; here it is gone.
            self.manager.free(request)
            return {"hit": hit, "computed": -1}
        request.num_computed_tokens = hit + count
        self.requests[command["id"]] = request
        return {"hit": hit, "computed": hit + count}

    def advance(self, command):
        request = self.requests[command["id"]]
        if self.manager.allocate_slots(request, command["count"]) is None:
            self.end(request)
            return {"computed": -1}
        request.num_computed_tokens += command["count"]
        return {"computed": request.num_computed_tokens}

    def append(self, command):
        self.requests[command["id"]].append_output_token_ids(command["tokens"])
        return {}

    def free(self, command):
        self.end(self.requests[command["id"]])
        return {}

    def end(self, request):
        self.manager.free(request)
        # Managers before 0.11 keep the hashes of a request until the scheduler drops them.
        if hasattr(self.manager, "free_block_hashes"):
            self.manager.free_block_hashes(request)
        del self.requests[request.request_id]

    def reset(self, command):
        return {"done": self.manager.reset_prefix_cache()}

    def publish(self, command):
        events = self.manager.take_events() if hasattr(self.manager, "take_events") else (
            self.manager.block_pool.take_events()
        )
        if hasattr(self.manager, "new_step_starts"):
            self.manager.new_step_starts()
        else:
            step = getattr(getattr(self.manager, "coordinator", None), "new_step_starts", None)
            if step is not None:
                step()
        if hasattr(self.manager, "take_kv_cache_block_copies"):
            # The step has run: its copies are made, and need not be held any more.
            copies = self.manager.take_kv_cache_block_copies()
            self.manager.block_pool.free_blocks(copies[1])
        if not events:
            return {"published": self.published}
        self.publisher.publish(kv_events.KVEventBatch(ts=time.time(), events=events))
        self.published += 1
        return {"published": self.published}

    def ask(self, command):
        self.ask_number += 1
        request = self.request(command, f"ask{self.ask_number}")
        reused = self.manager.get_computed_blocks(request)[1]
        coordinator = getattr(self.manager, "coordinator", None)
        if coordinator is not None and hasattr(request, "block_hashes"):
            hashed = len(request.block_hashes) * self.hash_block_size
            held = coordinator.find_longest_cache_hit(
                request.block_hashes, min(request.num_tokens, hashed)
            )[1]
        else:
            # Releases without a coordinator: the hit of a prompt that is one token longer.
            longer = {**command, "tokens": [*command["tokens"], 0]}
            other = self.request(longer, f"ask{self.ask_number}+")
            held = self.manager.get_computed_blocks(other)[1]
            if hasattr(self.manager, "free_block_hashes"):
                self.manager.free_block_hashes(other)
        if hasattr(self.manager, "free_block_hashes"):
            self.manager.free_block_hashes(request)
        return {"held": held, "reused": reused}


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
