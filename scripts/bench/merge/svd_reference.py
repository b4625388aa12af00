"""The reference for the merge: one full SVD of a Gaussian float32 matrix of each shape.

usage: svd_reference.py numpy|torch THREADS ROWSxCOLUMNS ...

Prints one JSON document with the seconds of each. The SVD is what the published implementation spends its time on; its
products and its passes over whole models are not counted. Standard library and numpy, or torch.
"""

import json
import sys
import time


def with_numpy(threads):
    import numpy

    import openblas

    what = openblas.describe()
    if what["threads"] != threads:
        raise SystemExit("OpenBLAS has %d threads, not %d" % (what["threads"], threads))
    random = numpy.random.default_rng(1)
    draw = lambda shape: random.standard_normal(shape, dtype=numpy.float32)
    return what, draw, lambda matrix: numpy.linalg.svd(matrix, full_matrices=True)


def with_torch(threads):
    import torch

    torch.set_num_threads(threads)
    torch.manual_seed(1)
    what = {"torch": torch.__version__, "threads": torch.get_num_threads()}
    return what, torch.randn, lambda matrix: torch.linalg.svd(matrix, full_matrices=True)


def main():
    what, draw, svd = {"numpy": with_numpy, "torch": with_torch}[sys.argv[1]](int(sys.argv[2]))
    # Threads and code pages are there before the clock starts.
    svd(draw((64, 64)))
    seconds = []
    for text in sys.argv[3:]:
        matrix = draw(tuple(int(side) for side in text.split("x")))
        started = time.perf_counter()
        svd(matrix)
        seconds.append(time.perf_counter() - started)
    print(json.dumps({**what, "seconds": seconds}))


main()
