#!/bin/sh
# Builds this kernel into wasm.ts (scripts/build-kernel.sh). Usage: build.sh [FILE]: writes FILE instead, for a comparison.
here=$(cd "$(dirname "$0")" && pwd)
exec sh "$here/../../../../scripts/build-kernel.sh" "$here" EIGEN_WASM "The eigensolver" "$@"
