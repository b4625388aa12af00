"""numpy's symmetric eigenproblem of a matrix in a file of float64 values.

usage: eigh_reference.py PATH N REPEATS

Prints one JSON document with the seconds of each solution after the first, which is not counted.
"""

import json
import sys
import time

import numpy

import openblas


def main():
    path, n, repeats = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    what = openblas.describe()
    matrix = numpy.fromfile(path).reshape(n, n)
    seconds = []
    for _ in range(repeats + 1):
        started = time.perf_counter()
        values, _ = numpy.linalg.eigh(matrix)
        seconds.append(time.perf_counter() - started)
    print(json.dumps({**what, "seconds": seconds[1:], "largest": values[-1], "smallest": values[0]}))


main()
