#!/usr/bin/env python3
"""Holds one cubin to its budgets, from the compiler's report and the disassembly.

usage: budgets.py GPU REPORT SASS

Fails on any stack frame, spill or access to local memory: a secret could stay there. Fails where a
kernel has more registers than its threads allow, or where the loop over blocks has grown. Prints the
figures that docs/benchmarks-gpu.md shows.
"""

import re
import sys

# Registers that leave room for the threads of the launch, by the start of a kernel's name.
REGISTERS = {"sc_open_chunks": 128, "sc_seal_chunks": 128, "": 168}

# The loop over blocks: instructions, 4-byte and 16-byte lookups in shared memory. Lookups are exact:
# one more or less is another algorithm. Four tables: 2 + 8 + 12 rounds of 16, and 32 nibbles.
LOOPS = {
    # kernel: {tables: (instructions at most, LDS, LDS.128)}
    "sc_open_chunks": {4: (720, 202, 32), 1: (1060, 202, 32)},
    "sc_seal_chunks": {4: (720, 202, 32), 1: (1060, 202, 32)},
    # Two blocks a turn; the matrices are 8-byte lookups.
    "sc_open_chunks_b1": {4: (1620, 532, 0)},
}

# An H100 SXM: multiprocessors, GHz; lanes per clock of shared memory, of the integer unit, of issue.
H100 = (132, 1.755, 32, 64, 128)

FAILURES = []


def fail(text):
    FAILURES.append(text)


def read_report(path):
    """Kernel: (registers, stack, spill stores, spill loads)."""
    kernels, name, frame = {}, None, None
    for line in open(path):
        if found := re.search(r"Function properties for (\w+)", line):
            name, frame = found[1], None
        elif found := re.search(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes", line):
            frame = tuple(int(x) for x in found.groups())
        elif (found := re.search(r"Used (\d+) registers", line)) and name and frame:
            kernels[name] = (int(found[1]), *frame)
    return kernels


def read_sass(path):
    """Kernel: [(address, operation, operands)]."""
    kernels, code = {}, None
    for line in open(path):
        if found := re.search(r"Function : (\w+)", line):
            code = kernels.setdefault(found[1], [])
        elif code is not None and (
            found := re.search(r"/\*([0-9a-f]{4,6})\*/\s+(?:@!?U?P\w+\s+)?([A-Z][A-Z0-9_.]*)\s*(.*?);", line)
        ):
            code.append((int(found[1], 16), found[2], found[3]))
    return kernels


def loops(code):
    """Every loop as (first, last) address: branches that go back."""
    for address, operation, operands in code:
        if operation.startswith("BRA") and (found := re.search(r"0x([0-9a-f]+)", operands)):
            if int(found[1], 16) < address:
                yield int(found[1], 16), address


def operations(code, first, last):
    return [operation for address, operation, _ in code if first <= address <= last]


def hot_loop(code):
    """The innermost loop with most lookups."""
    found = [operations(code, *loop) for loop in loops(code)]
    found = [ops for ops in found if sum(op.startswith("LDS") for op in ops) >= 150]
    return min(found, key=len) if found else None


def count(ops, *starts):
    return sum(op.startswith(starts) for op in ops)


def clocks(ops):
    """Clocks of one multiprocessor for 32 blocks: shared memory, integer unit, issue."""
    wide = count(ops, "LDS.128", "LDS.U.128")
    half = count(ops, "LDS.64", "LDS.U.64")
    wavefronts = count(ops, "LDS") - wide - half + 2 * half + 4 * wide
    integer = count(ops, "PRMT", "LOP3", "SHF", "IADD3", "ISETP", "SEL", "VIADD", "LEA", "BMSK", "SGXT")
    return wavefronts, integer / 2, len(ops) / 4


def check_loop(gpu, name, tables, code):
    ops = hot_loop(code)
    if ops is None:
        return fail(f"{gpu} {name}: no loop over blocks")
    most, lookups, wide = LOOPS[name][tables]
    shared = count(ops, "LDS")
    got_wide = count(ops, "LDS.128", "LDS.U.128")
    if len(ops) > most:
        fail(f"{gpu} {name}: {len(ops)} instructions in the loop, budget {most}")
    if (shared - got_wide, got_wide) != (lookups, wide):
        fail(f"{gpu} {name}: {shared - got_wide} + {got_wide} lookups, not {lookups} + {wide}")
    blocks = 2 if name.endswith("_b1") else 1
    what = "block" if blocks == 1 else f"{blocks} blocks"
    line = f"{gpu:7} {name:18} {len(ops):5} instructions per {what}, {lookups} + {wide} lookups"
    if gpu == "sm_90":
        processors, ghz, *_ = H100
        need = clocks(ops)
        bound = processors * ghz * 512 * blocks / max(need)
        each = ", ".join(f"{n} {c / 32 / blocks:.2f}" for n, c in zip(("shared", "integer", "issue"), need))
        line += f"; clocks per block: {each}; bound on an H100 at {ghz} GHz: {bound:.0f} GB/s"
    print(line)


def main():
    gpu, report, sass = sys.argv[1:]
    tables = 4 if gpu in ("sm_90", "sm_100") else 1
    kernels, code = read_report(report), read_sass(sass)
    if set(kernels) != set(code) or not kernels:
        fail(f"{gpu}: report and disassembly name different kernels")
    for name, (registers, *frame) in sorted(kernels.items()):
        if any(frame):
            fail(f"{gpu} {name}: {frame[0]} bytes of stack, {frame[1]} + {frame[2]} of spills")
        most = next(most for start, most in REGISTERS.items() if name.startswith(start))
        if registers > most:
            fail(f"{gpu} {name}: {registers} registers, budget {most}")
        local = [op for _, op, _ in code.get(name, []) if op.startswith(("LDL", "STL"))]
        if local:
            fail(f"{gpu} {name}: {len(local)} accesses to local memory")
        print(f"{gpu:7} {name:22} {registers:3} registers, {sum(frame)} bytes of stack and spills")
    for name in LOOPS:
        if name == "sc_open_chunks_b1" and gpu != "sm_90":
            continue  # built for comparison only
        check_loop(gpu, name, tables, code.get(name, []))
    for text in FAILURES:
        print(f"budget: {text}", file=sys.stderr)
    sys.exit(1 if FAILURES else 0)


main()
