"""Makes sure that numpy computes with OpenBLAS, and says which. Standard library and numpy alone.

usage: openblas.py            prints one JSON document, or says why not and ends with 1
"""

import ctypes
import json
import os
import re

import numpy


def describe():
    """numpy's version and the OpenBLAS library that its linear algebra has loaded; exits where it is another."""
    numpy.linalg.svd(numpy.eye(4))
    try:
        with open("/proc/self/maps") as maps:
            paths = sorted(set(re.findall(r"(/\S*(?:blas|lapack)\S*)$", maps.read(), re.MULTILINE)))
    except OSError:
        raise SystemExit("this system does not tell which libraries a process has loaded")
    for path in paths:
        if "openblas" not in os.path.basename(path):
            continue
        library = ctypes.CDLL(path)
        for prefix, suffix in (("", ""), ("", "64_"), ("scipy_", ""), ("scipy_", "64_")):
            config = getattr(library, prefix + "openblas_get_config" + suffix, None)
            if config is None:
                continue
            config.restype = ctypes.c_char_p
            threads = getattr(library, prefix + "openblas_get_num_threads" + suffix)
            return {
                "numpy": numpy.__version__,
                "openblas": config().decode(),
                "library": os.path.realpath(path),
                "threads": threads(),
            }
    raise SystemExit("numpy %s is not on OpenBLAS (loaded: %s)" % (numpy.__version__, ", ".join(paths) or "none"))


if __name__ == "__main__":
    print(json.dumps(describe()))
