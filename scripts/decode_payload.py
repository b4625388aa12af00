#!/usr/bin/env python3
"""Decode a kinmerge payload or offline container, independently of kinmerge.

Written from docs/payload-format.md alone, for Python 3.9 or later, with nothing but the standard library.

    decode_payload.py update.kmtc                               a container of `kinmerge encode`
    decode_payload.py payload.bin --table table.json            a bare payload; table: [["name", [2, 3]], ...]
    decode_payload.py update.kmtc --json                        the summary as JSON
    decode_payload.py update.kmtc --out task-vector.safetensors the task vector, float32

A file that breaks a rule of the format is refused with one line on standard error, which begins with the code of the
rule as the document names it, and exit status 1.
"""

import argparse
import hashlib
import json
import math
import os
import struct
import sys
from array import array
from bisect import bisect_right

MAX_ELEMENTS = 2**31 - 1
MAX_TENSORS = 65_536
MAX_SAFE_INTEGER = 2**53 - 1
MAX_CONTAINER_HEADER = 16 * 2**20
MAX_NAME_BYTES = 1024
MAX_DIMENSIONS = 8
MIN_WIDTH, MAX_WIDTH = 16, 262_144
FLAT_ROW = 65_536
MAX_ROWS_COUNTED = 65_536
MAX_RANK = 1024
MAX_SIDE = 2**22
LARGEST_SCALE = (2 - 2.0**-23) * 2.0**127
MAX_LEVEL = 32
STATE_LOW, STATE_HIGH = 2**23, 2**31
SLOTS = 2**15
LEVEL_ROOTS = (65_536, 77_936, 92_682, 110_218)
# Elements expanded at a time. Memory thus follows the bytes of the payload, not what its table claims.
CHUNK = 1 << 20


class FormatError(Exception):
    """A rule of the format that the file breaks. `code` is the document's name for it."""

    def __init__(self, code, message):
        super().__init__(f"{code}: {message}")
        self.code = code


# ---------------------------------------------------------------------------------------------- table


def table_tensor(code, position, name, shape):
    """(name, shape, elements) of one row of a table, checked."""
    where = f"tensor {position} of the table"
    if not isinstance(name, str):
        raise FormatError(code, f"{where} has no name")
    try:
        size = len(name.encode("utf-8"))
    except UnicodeEncodeError:
        raise FormatError(code, f"the name of {where} is not Unicode text") from None
    if size > MAX_NAME_BYTES:
        raise FormatError(code, f"the name of {where} takes {size} bytes, at most {MAX_NAME_BYTES} are allowed")
    if not isinstance(shape, list) or len(shape) > MAX_DIMENSIONS:
        raise FormatError(code, f"the shape of {where} is not a list of at most {MAX_DIMENSIONS} integers")
    if any(type(d) is not int or not 0 <= d <= MAX_SAFE_INTEGER for d in shape):
        raise FormatError(code, f"the shape of {where} has a dimension that is not an integer from 0 to 2^53 - 1")
    elements = math.prod(shape)
    if elements > MAX_ELEMENTS:
        raise FormatError(code, f"{where} has more than 2^31 - 1 elements")
    return name, shape, elements


def check_table(code, table):
    if len(table) > MAX_TENSORS:
        raise FormatError(code, f"the table has {len(table)} tensors, at most {MAX_TENSORS} are allowed")
    for before, after in zip(table, table[1:]):
        # Python compares text by code points, which is the order of a table.
        if not before[0] < after[0]:
            raise FormatError(code, f"the table's names do not ascend at {after[0]!r}")
    return table


def read_table(path):
    """The table of a bare payload from a JSON file: [[name, [shape]], ...]."""
    code = "BAD_TABLE"
    try:
        with open(path, encoding="utf-8") as file:
            rows = json.load(file)
    except (ValueError, RecursionError) as error:
        raise FormatError(code, f"{path} is not JSON: {error}") from None
    if not isinstance(rows, list):
        raise FormatError(code, f"{path} is not a list")
    table = []
    for position, row in enumerate(rows):
        if not isinstance(row, list) or len(row) != 2:
            raise FormatError(code, f"row {position} of {path} is not [name, [shape]]")
        table.append(table_tensor(code, position, *row))
    return check_table(code, table)


# ----------------------------------------------------------------------------------- container, dag-cbor


class Cbor:
    """The part of dag-cbor a header needs, and only its canonical form."""

    CODE = "BAD_CONTAINER_HEADER"
    # Deeper than any header, shallow enough for the interpreter's stack.
    MAX_DEPTH = 8

    def __init__(self, data):
        self.data = data
        self.at = 0

    @classmethod
    def decode(cls, data):
        reader = cls(data)
        value = reader.item(0)
        if reader.at != len(data):
            raise reader.bad("bytes after the map")
        return value

    def bad(self, what):
        return FormatError(self.CODE, f"the header is not canonical dag-cbor: {what} (byte {self.at})")

    def take(self, count):
        if count > len(self.data) - self.at:
            raise self.bad("it ends inside an item")
        self.at += count
        return self.data[self.at - count : self.at]

    def argument(self, low):
        if low < 24:
            return low
        if low > 27:
            raise self.bad("an indefinite or reserved length")
        size = 1 << (low - 24)
        value = int.from_bytes(self.take(size), "big")
        if value < (24 if size == 1 else 1 << (4 * size)):
            raise self.bad("a number that is not in its shortest form")
        return value

    def item(self, depth):
        if depth > self.MAX_DEPTH:
            raise self.bad("nested too deeply")
        first = self.take(1)[0]
        major, low = first >> 5, first & 31
        if major == 7:
            return self.simple(low)
        value = self.argument(low)
        if major == 0:
            return value
        if major == 1:
            return -1 - value
        if major == 2:
            return self.take(value)
        if major == 3:
            return self.text(value)
        if major == 4:
            return [self.item(depth + 1) for _ in range(self.fits(value))]
        if major == 5:
            return self.map(self.fits(value), depth)
        raise self.bad("a tag")

    def fits(self, count):
        if count > len(self.data) - self.at:
            raise self.bad("more items than bytes")
        return count

    def text(self, size):
        try:
            return self.take(size).decode("utf-8")
        except UnicodeDecodeError:
            raise self.bad("text that is not UTF-8") from None

    def map(self, count, depth):
        result = {}
        last = None
        for _ in range(count):
            start = self.at
            key = self.item(depth + 1)
            if not isinstance(key, str):
                raise self.bad("a key that is not text")
            encoded = self.data[start : self.at]  # its head holds the length: shorter keys sort first
            if last is not None and encoded <= last:
                raise self.bad("keys that are not in order")
            last = encoded
            result[key] = self.item(depth + 1)
        return result

    def simple(self, low):
        if low in (20, 21, 22):
            return (False, True, None)[low - 20]
        if low != 27:
            raise self.bad("a simple value or a float that is not of 64 bits")
        value = struct.unpack(">d", self.take(8))[0]
        if not math.isfinite(value):
            raise self.bad("a float that is not finite")
        if value.is_integer() and abs(value) <= MAX_SAFE_INTEGER:
            raise self.bad("a whole number as a float")
        return value


def read_container(data):
    """(table, encoder, payload) of an offline container."""
    code = Cbor.CODE
    if len(data) < 8:
        raise FormatError("BAD_CONTAINER_MAGIC", "the file ends inside the container's first eight bytes")
    size = int.from_bytes(data[4:8], "little")
    if size > MAX_CONTAINER_HEADER:
        raise FormatError(code, f"the header claims {size} bytes, at most {MAX_CONTAINER_HEADER} are allowed")
    if size > len(data) - 8:
        raise FormatError(code, f"the header claims {size} bytes, the file has {len(data) - 8} more")
    header = Cbor.decode(bytes(data[8 : 8 + size]))
    if not isinstance(header, dict):
        raise FormatError(code, "the header is not a map")
    version = header.get("version")
    if type(version) not in (int, float):
        raise FormatError(code, "the header has no version")
    if version != 1:
        raise FormatError("UNSUPPORTED_CONTAINER_VERSION", f"container version {version}; this decoder reads 1")
    if set(header) != {"version", "encoder", "tensors"}:
        raise FormatError(code, "the header's keys are not version, encoder and tensors")
    encoder = header["encoder"]
    if not isinstance(encoder, dict) or set(encoder) != {"mode", "density", "scaleUnit", "scaleFactor"}:
        raise FormatError(code, "the encoder's keys are not mode, density, scaleUnit and scaleFactor")
    if encoder["mode"] not in ("global", "tensor"):
        raise FormatError(code, "the encoder's mode is neither global nor tensor")
    if encoder["scaleUnit"] not in ("deviation", "magnitude"):
        raise FormatError(code, "the encoder's scaleUnit is neither deviation nor magnitude")
    for key, most in (("density", 1), ("scaleFactor", math.inf)):
        value = encoder[key]
        if type(value) not in (int, float) or not 0 < value <= most:
            raise FormatError(code, f"the encoder's {key} is out of bounds")
        if type(value) is int and value > MAX_SAFE_INTEGER:
            raise FormatError(code, f"the encoder's {key} is an integer above 2^53 - 1")
    rows = header["tensors"]
    if not isinstance(rows, list):
        raise FormatError(code, "tensors is not a list")
    table = []
    for position, row in enumerate(rows):
        if not isinstance(row, dict) or set(row) != {"name", "shape"}:
            raise FormatError(code, f"the keys of tensor {position} of the table are not name and shape")
        table.append(table_tensor(code, position, row["name"], row["shape"]))
    return check_table(code, table), encoder, data[8 + size :]


# ---------------------------------------------------------------------------------------------- payload


class Reader:
    def __init__(self, data):
        self.data = data
        self.at = 0

    def take(self, count, what):
        if count > len(self.data) - self.at:
            raise FormatError("TRUNCATED", f"the bytes end inside {what}")
        self.at += count
        return self.data[self.at - count : self.at]

    def varint(self, what):
        value = 0
        for position in range(8):
            byte = self.take(1, what)[0]
            value |= (byte & 127) << (7 * position)
            if byte < 128:
                if byte == 0 and position > 0:
                    raise FormatError("BAD_VARINT", f"{what} is not in its shortest form")
                if value > MAX_SAFE_INTEGER:
                    raise FormatError("BAD_VARINT", f"{what} is above 2^53 - 1")
                return value
        raise FormatError("BAD_VARINT", f"{what} takes more than 8 bytes")

    def scale(self, what):
        value = struct.unpack("<f", self.take(4, what))[0]
        if not 2.0**-126 <= value < math.inf:  # NaN fails as well
            raise FormatError("BAD_SCALE", f"{what} is {value!r}, not a positive normal number")
        return value


class Code:
    """The entries of a tensor, or of one factor of it, still coded."""

    __slots__ = ("where", "elements", "nnz", "coding", "m", "width", "rows", "columns", "length", "code")

    def __init__(self, where, elements):
        self.where = where
        self.elements = elements

    def read_nnz(self, reader):
        self.check_nnz(reader.varint(f"nnz {self.where}"))

    def check_nnz(self, nnz):
        if not 1 <= nnz <= self.elements:
            raise FormatError("BAD_COUNT", f"nnz {self.where} is {nnz}, of {self.elements} elements")
        self.nnz = nnz

    def read_coding(self, reader, coding):
        """The fields after the byte of the coding."""
        where, elements = self.where, self.elements
        self.coding = coding
        if coding == 0:
            self.m = reader.varint(f"M {where}")
            if not 1 <= self.m <= elements:
                raise FormatError("BAD_GOLOMB_PARAMETER", f"M {where} is {self.m}, not 1 to {elements}")
        elif coding == 1:
            self.width = reader.varint(f"the width {where}")
            self.rows = self.columns = 0
            if self.width > 0:
                if not MIN_WIDTH <= self.width <= MAX_WIDTH or elements % self.width != 0:
                    raise FormatError("BAD_MODEL", f"the width {where} is {self.width}, for {elements} elements")
                priors = reader.take(1, f"the priors {where}")[0]
                if priors == 0:
                    raise FormatError("BAD_MODEL", f"the priors {where} are both 0")
                self.rows, self.columns = priors >> 4, priors & 15
        else:
            raise FormatError("UNSUPPORTED_CODING", f"the coding {where} is {coding}")

    def read_length(self, reader):
        where, elements = self.where, self.elements
        self.length = reader.varint(f"the length {where}")
        least = 1 if self.coding == 0 else 4
        if not least <= self.length <= -(-elements // 4):
            raise FormatError("BAD_SECTION_LENGTH", f"the code {where} has {self.length} bytes, for {elements} elements")
        if self.coding == 0:
            fits = self.nnz * (1 + self.m.bit_length()) <= 8 * self.length
        else:
            fits = self.nnz <= 8 * self.length - 24
        if not fits:
            raise FormatError("BAD_COUNT", f"{self.nnz} entries {where} cannot fit in {self.length} bytes")

    def read_code(self, reader):
        self.code = reader.take(self.length, f"the code {self.where}")


class Section:
    """A tensor of the payload: `codes` is its one code, or those of its left and right factor."""

    __slots__ = ("index", "name", "elements", "scale", "codes", "rows", "columns", "rank")


def read_section(reader, table, last, scale):
    section = Section()
    index = section.index = reader.varint("a tensor's index")
    if index >= len(table):
        raise FormatError("INDEX_RANGE", f"index {index} in a table of {len(table)} tensors")
    if index <= last:
        raise FormatError("INDEX_ORDER", f"index {index} after {last}")
    section.name, _, section.elements = table[index]
    where = f"of tensor {index}"
    code = Code(where, section.elements)
    code.read_nnz(reader)
    coding = reader.take(1, f"the coding {where}")[0]
    if coding == 2:
        read_factors(section, reader, code.nnz, scale)
        return section
    section.rank = None
    section.codes = [code]
    code.read_coding(reader, coding)
    section.scale = scale if scale is not None else reader.scale(f"the scale {where}")
    code.read_length(reader)
    code.read_code(reader)
    return section


def read_factors(section, reader, nnz, scale):
    """The rest of a section of coding 2; `nnz` is that of the left factor."""
    where = f"of tensor {section.index}"
    elements = section.elements
    rows = section.rows = reader.varint(f"the rows {where}")
    if rows < 1 or elements % rows != 0:
        raise FormatError("BAD_FACTORS", f"{rows} rows {where}, which has {elements} elements")
    columns = section.columns = elements // rows
    rank = section.rank = reader.varint(f"the rank {where}")
    if max(rows, columns) > MAX_SIDE or not 1 <= rank <= MAX_RANK or rank * (rows + columns) > elements:
        raise FormatError("BAD_FACTORS", f"rank {rank} {where}, which has {rows} rows and {columns} columns")
    left = Code(f"of the left factor {where}", rows * rank)
    right = Code(f"of the right factor {where}", rank * columns)
    left.check_nnz(nnz)
    section.scale = scale if scale is not None else reader.scale(f"the scale {where}")
    mantissa = struct.unpack("<I", struct.pack("<f", section.scale))[0]
    if mantissa % (1 << rank.bit_length()) != 0 or rank * section.scale > LARGEST_SCALE:
        raise FormatError("BAD_SCALE", f"the scale {where} is {section.scale!r}, which is not exact at rank {rank}")
    left.read_coding(reader, reader.take(1, f"the coding {left.where}")[0])
    left.read_length(reader)
    right.read_nnz(reader)
    right.read_coding(reader, reader.take(1, f"the coding {right.where}")[0])
    right.read_length(reader)
    section.codes = [left, right]
    for code in section.codes:
        code.read_code(reader)


def read_sections(data, table):
    """The headers of all sections, checked, their code still undecoded."""
    if len(data) < 10:
        raise FormatError("TRUNCATED", f"a payload has at least 10 bytes, this one {len(data)}")
    reader = Reader(data)
    if bytes(reader.take(4, "the magic")) != b"KMTV":
        raise FormatError("BAD_MAGIC", "not a kinmerge payload")
    version = reader.take(1, "the version")[0]
    if version != 1:
        raise FormatError("UNSUPPORTED_VERSION", f"payload version {version}; this decoder reads 1")
    flags = reader.take(1, "the flags")[0]
    if flags > 1:
        raise FormatError("BAD_FLAGS", f"reserved flags are set: {flags}")
    count = int.from_bytes(reader.take(4, "the number of sections"), "little")
    if count > len(table):
        raise FormatError("BAD_TENSOR_COUNT", f"{count} sections for a table of {len(table)} tensors")
    if flags == 1 and count < 2:
        raise FormatError("BAD_FLAGS", f"a scale per tensor, but there are {count} sections")
    scale = reader.scale("the scale") if flags == 0 and count > 0 else None
    sections = []
    last = -1
    for _ in range(count):
        sections.append(read_section(reader, table, last, scale))
        last = sections[-1].index
    if flags == 1 and len({section.scale for section in sections}) < 2:
        raise FormatError("BAD_FLAGS", "a scale per tensor, but the scales do not differ")
    if reader.at != len(data):
        raise FormatError("TRAILING_BYTES", f"{len(data) - reader.at} bytes after the last section")
    return sections


# ------------------------------------------------------------------------------------- coding 0: Golomb


def decode_golomb(source):
    """The entries in ascending position, each as 2 * position + (1 for minus)."""
    code, m, elements = source.code, source.m, source.elements
    width = (m - 1).bit_length()
    short = (1 << width) - m
    total = 8 * len(code)
    at = 0
    where = source.where

    def bits(count):
        nonlocal at
        if count > total - at:
            raise FormatError("BAD_SECTION_LENGTH", f"the code {where} ends before its last entry")
        value = 0
        while count > 0:
            room = 8 - (at & 7)
            step = min(room, count)
            value = value << step | (code[at >> 3] >> (room - step)) & ((1 << step) - 1)
            at += step
            count -= step
        return value

    entries = array("Q")
    position = -1
    for _ in range(source.nnz):
        position += 1
        while bits(1) == 0:
            position += m
        if m > 1:
            rest = bits(width - 1)
            if rest >= short:
                rest = 2 * rest + bits(1) - short
            position += rest
        sign = bits(1)
        if position >= elements:
            raise FormatError("POSITION_RANGE", f"an entry {where} lies at or past its end")
        entries.append(2 * position + sign)
    if (at + 7) >> 3 != len(code):
        raise FormatError("BAD_SECTION_LENGTH", f"the entries {where} take {(at + 7) >> 3} of {len(code)} bytes")
    if bits(total - at) != 0:
        raise FormatError("BAD_PADDING", f"a padding bit {where} is 1")
    return entries


# ------------------------------------------------------------------------------------ coding 1: adaptive


def lg(value):
    """The base-2 logarithm in units of 1/256, with a linear mantissa."""
    exponent = value.bit_length() - 1
    return 256 * exponent + ((256 * (value - (1 << exponent))) >> exponent)


class Levels:
    """Densities, the level that counts stand for, and the frequencies of a level, for one tensor."""

    def __init__(self, nnz, elements):
        self.nnz = nnz
        self.rest = elements - nnz
        self.densities = {}
        self.frequencies = {}
        self.base = self.density(0)

    def probability(self, level):
        u = LEVEL_ROOTS[abs(level) % 4] << (abs(level) // 4)
        a, b = (u, 65_536) if level >= 0 else (65_536, u)
        a, b = self.nnz * a, self.rest * b
        return min(max((a << 24) // (a + b), 1024), 2**24 - 1024)

    def density(self, level):
        if level not in self.densities:
            self.densities[level] = max(1, self.probability(level) >> 11)
        return self.densities[level]

    def level(self, k, n, expected, prior):
        found = prior * self.base
        missing = prior * (8192 - self.base)
        value = (
            lg(8192 * k + found)
            - lg(8192 * (n - k) + missing)
            - lg(expected + found)
            + lg(8192 * n - expected + missing)
            + 32
        ) >> 6
        return min(max(value, -MAX_LEVEL), MAX_LEVEL)

    def slots(self, level):
        """C(0) ... C(G + 1)."""
        if level not in self.frequencies:
            p = self.probability(level)
            g_max = min(256, 2**26 // p)
            tail = 2**28
            starts = []
            for g in range(g_max + 1):
                starts.append(g + (((2**28 - tail) * (SLOTS - 1 - g_max)) >> 28))
                tail = (tail * (2**24 - p)) >> 24
            starts.append(SLOTS)
            self.frequencies[level] = starts
        return self.frequencies[level]


class RansDecoder:
    def __init__(self, source, levels):
        self.code = source.code
        self.at = 4
        self.state = int.from_bytes(self.code[:4], "big")
        self.entries = array("Q")
        self.nnz = source.nnz
        self.levels = levels
        self.where = source.where
        if not STATE_LOW <= self.state < STATE_HIGH:
            raise FormatError("BAD_CODER_STATE", f"the first state {self.where} is {self.state}")

    def segment(self, origin, columns, level):
        """Decodes one segment into `entries`, its columns at origin + column, and returns the columns of its entries."""
        starts = self.levels.slots(level)
        g_max = len(starts) - 2
        code, end, at, x = self.code, len(self.code), self.at, self.state
        entries = self.entries
        found = []
        column = 0
        count = len(columns)
        while column < count:
            slot = x & 32767
            g = bisect_right(starts, slot) - 1
            left = count - column
            if g >= left:
                start = starts[left]
                x = (SLOTS - start) * (x >> 15) + slot - start
                column = count
            else:
                start = starts[g]
                x = (starts[g + 1] - start) * (x >> 15) + slot - start
                column += g
                if g < g_max:
                    found.append(columns[column])
                    entries.append(2 * (origin + columns[column]) + (x & 1))
                    x >>= 1
                    column += 1
            while x < STATE_LOW:
                if at == end:
                    raise FormatError("BAD_SECTION_LENGTH", f"the code {self.where} ends before its last entry")
                x = x << 8 | code[at]
                at += 1
        self.at, self.state = at, x
        if len(entries) > self.nnz:
            raise FormatError("BAD_COUNT", f"the code {self.where} has more than {self.nnz} entries")
        return found

    def finish(self):
        if len(self.entries) != self.nnz:
            raise FormatError("BAD_COUNT", f"the code {self.where} has {len(self.entries)} entries, not {self.nnz}")
        if self.at != len(self.code):
            raise FormatError(
                "BAD_SECTION_LENGTH", f"the entries {self.where} take {self.at} of {len(self.code)} bytes"
            )
        if self.state != STATE_LOW:
            raise FormatError("BAD_CODER_STATE", f"the last state {self.where} is {self.state}")
        return self.entries


def cut_segments(levels, limited):
    """[(level, columns)]: runs of columns of one level, the levels ascending; limited: with a most number of columns."""
    order = sorted(range(len(levels)), key=levels.__getitem__)  # a stable sort: positions ascend within a level
    segments = []
    start = 0
    while start < len(order):
        level = levels[order[start]]
        end = start + 1
        most = start + max(32, start // 4) if limited else len(order)
        while end < min(most, len(order)) and levels[order[end]] == level:
            end += 1
        segments.append((level, order[start:end]))
        start = end
    return segments


def decode_adaptive(source):
    levels = Levels(source.nnz, source.elements)
    decoder = RansDecoder(source, levels)
    if source.width == 0:
        for origin in range(0, source.elements, FLAT_ROW):
            decoder.segment(origin, range(min(FLAT_ROW, source.elements - origin)), 0)
        return decoder.finish()

    row_prior, column_prior = 1 << source.rows, 1 << source.columns
    counts = [0] * source.width
    counted = 0
    refresh = 1
    segments = cut_segments([0] * source.width, source.rows > 0)
    for row in range(source.elements // source.width):
        if source.columns > 0 and row == refresh:
            refresh = row + max(1, row // 8)
            while counted > MAX_ROWS_COUNTED:
                counted >>= 1
                counts = [k >> 1 for k in counts]
            known = {}
            for k in counts:
                if k not in known:
                    known[k] = levels.level(k, counted, counted * levels.base, column_prior)
            segments = cut_segments([known[k] for k in counts], source.rows > 0)
        row_level = 0
        row_entries = row_elements = row_expected = 0
        for level, columns in segments:
            both = min(max(level + row_level, -MAX_LEVEL), MAX_LEVEL)
            found = decoder.segment(row * source.width, columns, both)
            for column in found:
                counts[column] += 1
            if source.rows > 0:
                row_entries += len(found)
                row_elements += len(columns)
                row_expected += len(columns) * levels.density(level)
                row_level = levels.level(row_entries, row_elements, row_expected, row_prior)
        counted += 1
    return array("Q", sorted(decoder.finish()))


# --------------------------------------------------------------------------------------------- results


def spread(entries, elements, zero, plus, minus):
    """The row-major tensor in pieces of at most CHUNK elements, each element `zero`, `plus` or `minus`."""
    size = len(zero)
    at = 0
    for origin in range(0, elements, CHUNK):
        count = min(CHUNK, elements - origin)
        piece = bytearray(zero * count)
        while at < len(entries) and entries[at] >> 1 < origin + count:
            offset = size * ((entries[at] >> 1) - origin)
            piece[offset : offset + size] = minus if entries[at] & 1 else plus
            at += 1
        yield piece


def entries_by_row(entries, rows, columns):
    """[[(column, sign)]] of a row-major matrix of signs."""
    lists = [[] for _ in range(rows)]
    for entry in entries:
        row, column = divmod(entry >> 1, columns)
        lists[row].append((column, 1 - 2 * (entry & 1)))
    return lists


def product_rows(section, decoded):
    """The rows of K = left * right, each as an array of integers."""
    left, right = decoded
    right_rows = entries_by_row(right, section.rank, section.columns)
    for terms in entries_by_row(left, section.rows, section.rank):
        row = array("h", bytes(2 * section.columns))
        for k, sign in terms:
            for column, other in right_rows[k]:
                row[column] += sign * other
        yield row


def little_endian(values):
    if sys.byteorder == "big":
        values.byteswap()
    return values.tobytes()


def summarize_ternary(section, entries):
    minus = sum(entry & 1 for entry in entries)
    digest = hashlib.sha256()
    for piece in spread(entries, section.elements, b"\x00", b"\x01", b"\xff"):
        digest.update(piece)
    return {"plus": len(entries) - minus, "minus": minus, "scale": section.scale, "sha256": digest.hexdigest()}


def summarize_low_rank(section, decoded):
    """The digest is that of K as row-major 16-bit integers, the lower byte first."""
    total = squares = peak = 0
    digest = hashlib.sha256()
    for row in product_rows(section, decoded):
        total += sum(row)
        squares += sum(k * k for k in row)
        peak = max(peak, max(row), -min(row))
        digest.update(little_endian(row))
    return {
        "rows": section.rows,
        "columns": section.columns,
        "rank": section.rank,
        "sum": total,
        "squares": squares,
        "peak": peak,
        "scale": section.scale,
        "sha256": digest.hexdigest(),
    }


def summarize(table, encoder, decoded):
    tensors = []
    for section, parts in decoded:
        tensors.append(
            {
                "index": section.index,
                "name": section.name,
                "elements": section.elements,
                "nnz": sum(len(entries) for entries in parts),
                **(
                    summarize_ternary(section, parts[0])
                    if section.rank is None
                    else summarize_low_rank(section, parts)
                ),
            }
        )
    return {
        "encoder": encoder,
        "tableTensors": len(table),
        "elements": sum(elements for _, _, elements in table),
        "nnz": sum(tensor["nnz"] for tensor in tensors),
        "tensors": tensors,
    }


def print_summary(summary):
    elements, nnz = summary["elements"], summary["nnz"]
    share = f" ({100 * nnz / elements:.4g} %)" if elements > 0 else ""
    present = len(summary["tensors"])
    print(f"{nnz} of {elements} entries{share} in {present} of {summary['tableTensors']} tensors")
    for tensor in summary["tensors"]:
        name = json.dumps(tensor["name"])  # a name may hold control characters
        facts = " ".join(f"{key} {value!r}" for key, value in tensor.items() if key not in ("index", "name", "sha256"))
        print(f"{tensor['index']} {name} {facts} sha256 {tensor['sha256']}")


def float_pieces(section, parts, elements):
    """The row-major tensor as float32 in pieces; `section` is None for a tensor of zeros."""
    if section is not None and section.rank is not None:
        for row in product_rows(section, parts):
            yield little_endian(array("f", (section.scale * k for k in row)))
        return
    scale = section.scale if section is not None else 0.0
    yield from spread(parts[0], elements, bytes(4), struct.pack("<f", scale), struct.pack("<f", -scale))


def write_safetensors(path, table, decoded):
    """Every tensor of the table as float32, under a temporary name until all is written."""
    header = {}
    offset = 0
    for name, shape, elements in table:
        if name == "__metadata__":
            raise FormatError("BAD_TABLE", "a safetensors file cannot hold a tensor named __metadata__")
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [offset, offset + 4 * elements]}
        offset += 4 * elements
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode("utf-8")
    text += b" " * (-len(text) % 8)
    present = {section.index: (section, parts) for section, parts in decoded}
    temporary = f"{path}.{os.getpid()}.tmp"
    try:
        with open(temporary, "xb") as file:
            file.write(struct.pack("<Q", len(text)) + text)
            for index, (_, _, elements) in enumerate(table):
                section, parts = present.get(index, (None, [()]))
                for piece in float_pieces(section, parts, elements):
                    file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        if os.path.exists(temporary):
            os.unlink(temporary)
        raise


def decode(data, table):
    """[(section, [entries of each of its codes])] of a payload: all headers are checked before any code is decoded."""
    return [(section, [decode_code(code) for code in section.codes]) for section in read_sections(data, table)]


def decode_code(code):
    return decode_golomb(code) if code.coding == 0 else decode_adaptive(code)


def main():
    parser = argparse.ArgumentParser(description="Decode a kinmerge payload or offline container.")
    parser.add_argument("file", help="a file of `kinmerge encode`, or a bare payload")
    parser.add_argument("--table", metavar="JSON", help="the tensor table of a bare payload: [[name, [shape]], ...]")
    parser.add_argument("--json", action="store_true", help="print the summary as JSON")
    parser.add_argument("--out", metavar="FILE", help="write the task vector as a float32 safetensors file")
    options = parser.parse_args()
    try:
        with open(options.file, "rb") as file:
            data = memoryview(file.read())
        encoder = None
        if options.table is not None:
            table, payload = read_table(options.table), data
        elif bytes(data[:4]) == b"KMTC":
            table, encoder, payload = read_container(data)
        elif bytes(data[:4]) == b"KMTV":
            raise FormatError("NO_TABLE", "a bare payload has no names and shapes; give them with --table")
        else:
            raise FormatError("BAD_CONTAINER_MAGIC", "neither a container nor a payload of kinmerge")
        decoded = decode(payload, table)
        if options.out is not None:
            write_safetensors(options.out, table, decoded)
        if options.json:
            json.dump(summarize(table, encoder, decoded), sys.stdout, indent=1)
            print()
        elif options.out is None:
            print_summary(summarize(table, encoder, decoded))
    except (FormatError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
