#!/bin/sh
# Builds a kernel with Debian's toolchain (packages clang-19 and lld-19): the C files of a folder to WebAssembly in base64.
# Made with version 19.1.7 of both; another one may give other bytes.
# Usage: build-kernel.sh FOLDER CONSTANT COMMENT [FILE]: writes FOLDER/wasm.ts, or FILE for a comparison.
set -eu
# The order of the files.
export LC_ALL=C
cd "$1"
out=${4:-wasm.ts}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
clang-19 --target=wasm32 -std=c17 -O3 -msimd128 -mbulk-memory -ffreestanding -nostdlib -Wall -Wextra -Werror \
  -Wl,--no-entry -Wl,--strip-all -Wl,--export=__heap_base -Wl,-z,stack-size=65536 \
  -o "$work/kernel.wasm" ./*.c
{
  echo "// Made by build.sh from the C files beside it; do not edit."
  echo "/** $3 as WebAssembly, in base64. */"
  echo "export const $2 ="
  base64 -w 110 "$work/kernel.wasm" | sed "s/.*/  '&' +/;\$s/ +\$/;/"
} > "$out"
