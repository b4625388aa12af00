"""The machine's rate of matrix products: numpy's, by OpenBLAS.

usage: gemm_reference.py SIDE REPEATS

Prints one JSON document with the best seconds of SIDE x SIDE products in float64 and float32.
"""

import json
import sys
import time

import numpy

import openblas


def best(side, repeats, dtype):
    random = numpy.random.default_rng(1)
    a, b = (random.standard_normal((side, side)).astype(dtype) for _ in range(2))
    out = numpy.empty((side, side), dtype)
    seconds = []
    for _ in range(repeats + 1):
        started = time.perf_counter()
        numpy.matmul(a, b, out=out)
        seconds.append(time.perf_counter() - started)
    return min(seconds[1:])


def main():
    side, repeats = (int(text) for text in sys.argv[1:])
    seconds = {name: best(side, repeats, dtype) for name, dtype in (("float64", "d"), ("float32", "f"))}
    print(json.dumps({**openblas.describe(), "side": side, "seconds": seconds}))


main()
