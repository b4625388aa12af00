"""The reference for the torch bars: the ternary mask of a task vector, as a few lines of torch make it.

usage: torch_reference.py BASE.safetensors FINETUNE.safetensors DENSITY THREADS

Reads both files, then measures three steps over the whole flattened vector: subtract (widened to float32), kthvalue
of the magnitudes, mask. Twice: the first time pays for fresh memory and for starting threads. Prints one JSON document. Uses nothing but the standard library and torch.
"""

import json
import math
import re
import resource
import struct
import sys
import time

import torch


def resident():
    """Resident bytes: now, and the most so far (the program's own, not one inherited from its parent)."""
    try:
        with open("/proc/self/status") as status:
            text = status.read()
        return [1024 * int(re.search(name + r":\s+(\d+) kB", text).group(1)) for name in ("VmRSS", "VmHWM")]
    except (OSError, AttributeError):
        peak = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return [peak, peak]


def read_flat(path):
    """All BF16 tensors of a safetensors file as one vector. Their order in the file does not matter here."""
    with open(path, "rb") as file:
        (header_bytes,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(header_bytes))
        data = bytearray(file.read())
    header.pop("__metadata__", None)
    if any(tensor["dtype"] != "BF16" for tensor in header.values()):
        raise SystemExit("this script reads BF16 alone")
    return torch.frombuffer(data, dtype=torch.bfloat16)


def mask_of(base, finetune, density):
    """Seconds of each step, and how many entries the mask has."""
    times = [time.perf_counter()]
    vector = finetune.float() - base.float()
    times.append(time.perf_counter())
    count = vector.numel()
    kept = math.ceil(density * count)
    magnitudes = vector.abs()
    threshold = magnitudes.kthvalue(count - kept + 1).values
    times.append(time.perf_counter())
    mask = magnitudes >= threshold
    times.append(time.perf_counter())
    seconds = [after - before for before, after in zip(times, times[1:])]
    return dict(zip(("subtract", "kthvalue", "mask"), seconds)), int(mask.sum())


def main():
    base_path, finetune_path, density, threads = sys.argv[1:]
    torch.set_num_threads(int(threads))
    idle = resident()[0]
    started = time.perf_counter()
    base, finetune = read_flat(base_path), read_flat(finetune_path)
    read = time.perf_counter() - started
    first, kept = mask_of(base, finetune, float(density))
    peak = resident()[1]
    again, _ = mask_of(base, finetune, float(density))
    print(json.dumps({
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "parameters": base.numel(),
        "kept": kept,
        "seconds": {"read": read, **first},
        "again": again,
        "idle": idle,
        "peak": peak,
    }))


main()
