#!/usr/bin/env python3
"""What can be said of kernels without a GPU: compiles each source for each architecture with warnings as errors, and prints
a line a kernel: registers, shared memory, spilled bytes, theoretical occupancy, tensor-core instructions.

Fails (status 1, a line "FAIL ..." each) when a source does not compile without a warning, when a kernel spills or keeps a
stack, when its occupancy is under --occupancy, or when one whose name matches --tensor issues no tensor-core instruction.

Needs nvcc; the tensor-core column also needs nvdisasm (PyPI: nvidia-cuda-nvdisasm). Status 77 when nvcc is missing.

Usage: evidence.py [--arch sm_80,sm_90] [--tensor REGEX] [--occupancy PERCENT] [--dynamic NAME=BYTES]... SOURCE.cu...
"""
import argparse
import concurrent.futures
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
SKIPPED = 77
# Of a multiprocessor, from the CUDA programming guide's table of technical specifications: warps, blocks, shared memory.
LIMITS = {
    "sm_80": (64, 32, 164 * 1024),
    "sm_86": (48, 16, 100 * 1024),
    "sm_89": (48, 24, 100 * 1024),
    "sm_90": (64, 32, 228 * 1024),
    "sm_100": (64, 32, 228 * 1024),
    "sm_103": (64, 32, 228 * 1024),
    "sm_120": (48, 24, 100 * 1024),
}
REGISTERS, RESERVED_SHARED, SHARED_UNIT, REGISTER_UNIT = 65536, 1024, 128, 256
TENSOR_OPS = re.compile(r"\b((?:H|I|D|Q|O)MMA|[HIQ]GMMA|UTC\w*MMA)\b")


def tool(name):
    """A tool's path: on PATH, in the toolkit ($CUDA_HOME), or beside this Python (PyPI's wheels put them under nvidia/)."""
    home = os.environ.get("CUDA_HOME", "/usr/local/cuda")
    found = shutil.which(name) or shutil.which(name, path=f"{home}/bin")
    if found:
        return found
    for site in map(pathlib.Path, sys.path):
        for candidate in sorted(site.glob(f"nvidia/*/bin/{name}")):
            return str(candidate)
    return None


def parse_ptxas(text):
    """{mangled kernel: {"registers", "shared", "spill", "stack"}} of what ptxas -v printed."""
    kernels, name = {}, None
    for line in text.splitlines():
        if m := re.search(r"Compiling entry function '([^']+)'", line):
            name = m.group(1)
            kernels[name] = {"registers": 0, "shared": 0, "spill": 0, "stack": 0}
        elif m := re.search(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", line):
            # A device function that was not inlined is listed after its caller: its spills are the caller's.
            if name:
                kernels[name]["stack"] = max(kernels[name]["stack"], int(m.group(1)))
                kernels[name]["spill"] += int(m.group(2)) + int(m.group(3))
        elif name and (m := re.search(r"Used (\d+) registers", line)):
            kernels[name]["registers"] = int(m.group(1))
            if shared := re.search(r"(\d+) bytes smem", line):
                kernels[name]["shared"] = int(shared.group(1))
    return kernels


def parse_threads(ptx):
    """{mangled kernel: threads of its launch bounds} of PTX text."""
    threads = {}
    for m in re.finditer(r"\.entry (\w+)\s*\((.*?)\)\s*((?:\.\w+[^\n{]*\n)*)\s*\{", ptx, re.S):
        bound = re.search(r"\.maxntid (\d+)(?:, (\d+), (\d+))?", m.group(3))
        threads[m.group(1)] = 1024 if not bound else int(bound.group(1)) * int(bound.group(2) or 1) * int(bound.group(3) or 1)
    return threads


def parse_sass(text):
    """{mangled kernel: {instruction: how many}} of the tensor cores' instructions in nvdisasm's listing."""
    kernels, name = {}, None
    for line in text.splitlines():
        if m := re.match(r"\s*\.section\s+\.text\.([\w$]+)", line):
            name = m.group(1)
            kernels.setdefault(name, {})
        elif name and (m := TENSOR_OPS.search(line)):
            kernels[name][m.group(1)] = kernels[name].get(m.group(1), 0) + 1
    return kernels


def occupancy(arch, registers, shared, threads):
    """Percent of a multiprocessor's warps that can be resident."""
    warps_max, blocks_max, shared_max = LIMITS[arch]
    warps = -(-threads // 32)
    per_warp = -(-max(registers, 1) * 32 // REGISTER_UNIT) * REGISTER_UNIT
    by_registers = REGISTERS // per_warp // warps
    by_shared = shared_max // (-(-(shared + RESERVED_SHARED) // SHARED_UNIT) * SHARED_UNIT)
    return 100 * min(by_registers, by_shared, blocks_max, warps_max // warps) * warps // warps_max


def demangled(names):
    """{mangled: name with its template arguments}."""
    if not names or not shutil.which("c++filt"):
        return {name: name for name in names}
    out = subprocess.run(["c++filt", *names], capture_output=True, text=True, check=True).stdout.splitlines()
    short = {}
    for name, text in zip(names, out):
        text = re.sub(r"\((?:[\w:]+)\)(?=\d|true|false)", "", text)  # (form)3 is 3
        text = text.replace("(anonymous namespace)::", "").removeprefix("void ")
        short[name] = text.split("(")[0]
    return short


def compile_one(nvcc, disassembler, source, arch, options):
    """(kernels, error): what is known of each kernel of a source on an architecture."""
    with tempfile.TemporaryDirectory() as scratch:
        cubin = pathlib.Path(scratch) / "out.cubin"
        # sm_90 and sm_100 mean their own instructions too only with an "a"; what ships is without.
        command = [nvcc, "-std=c++17", f"-arch={arch}", "-O3", "-cubin", "-Xptxas", "-v", "-Werror", "all-warnings", "--keep",
                   "--keep-dir", scratch, "-I", str(ROOT), *options, "-o", str(cubin), str(source)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            return {}, (done.stderr or done.stdout).strip().splitlines()[:5]
        kernels = parse_ptxas(done.stderr)
        threads = {}
        for ptx in pathlib.Path(scratch).glob("*.ptx"):
            threads.update(parse_threads(ptx.read_text(encoding="utf-8", errors="replace")))
        sass = {}
        if disassembler:
            listing = subprocess.run([disassembler, "-c", str(cubin)], capture_output=True, text=True, check=True)
            sass = parse_sass(listing.stdout)
        for name, kernel in kernels.items():
            kernel["threads"] = threads.get(name, 1024)
            kernel["tensor"] = sass.get(name) if disassembler else None
        return kernels, None


def judge(where, name, kernel, options):
    """The lines that say what is wrong with a kernel."""
    if kernel["spill"]:
        yield f"FAIL {where} {name}: spills {kernel['spill']} bytes"
    elif kernel["stack"]:
        yield f"FAIL {where} {name}: keeps {kernel['stack']} bytes of stack in local memory"
    if kernel["occupancy"] < options.occupancy:
        yield f"FAIL {where} {name}: occupancy {kernel['occupancy']} %, under {options.occupancy} %"
    if options.tensor and re.search(options.tensor, name) and kernel["tensor"] is not None and not kernel["tensor"]:
        yield f"FAIL {where} {name}: no tensor-core instruction"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sources", nargs="+", type=pathlib.Path)
    parser.add_argument("--arch", default="sm_80,sm_90,sm_100,sm_120")
    parser.add_argument("--tensor", help="kernels that must issue tensor-core instructions")
    parser.add_argument("--occupancy", type=int, default=0, help="the least that is taken, in percent")
    parser.add_argument("--dynamic", action="append", default=[], metavar="NAME=BYTES",
                        help="dynamic shared memory of kernels whose name begins so")
    parser.add_argument("--nvcc-option", action="append", default=[])
    options = parser.parse_args()
    nvcc, disassembler = tool("nvcc"), tool("nvdisasm")
    if not nvcc:
        print("SKIPPED: nvcc is not installed")
        return SKIPPED
    if not disassembler:
        print("nvdisasm is not installed: tensor-core instructions are not counted")
    jobs = [(source, arch) for source in options.sources for arch in options.arch.split(",")]
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        results = list(pool.map(lambda job: compile_one(nvcc, disassembler, *job, options.nvcc_option), jobs))
    failures, matched = [], set()
    print(f"{'arch':7} {'regs':>4} {'static':>6} {'dynamic':>7} {'spill':>5} {'threads':>7} {'occup.':>6}  {'tensor cores':14} kernel")
    for (source, arch), (kernels, error) in zip(jobs, results):
        if error:
            failures.append(f"FAIL {arch} {source}: does not compile without warnings\n  " + "\n  ".join(error))
        names = demangled(list(kernels))
        for mangled, kernel in sorted(kernels.items(), key=lambda item: names[item[0]]):
            name = names[mangled]
            dynamic = max([int(d.split("=")[1]) for d in options.dynamic if name.startswith(d.split("=")[0])], default=0)
            kernel["occupancy"] = occupancy(arch, kernel["registers"], kernel["shared"] + dynamic, kernel["threads"])
            tensor = "?" if kernel["tensor"] is None else " ".join(f"{n} {op}" for op, n in kernel["tensor"].items()) or "-"
            print(f"{arch:7} {kernel['registers']:4} {kernel['shared']:6} {dynamic:7} {kernel['spill']:5} {kernel['threads']:7} "
                  f"{kernel['occupancy']:5}%  {tensor:14} {source.stem}: {name}")
            failures.extend(judge(arch, f"{source.stem}: {name}", kernel, options))
            if options.tensor and re.search(options.tensor, f"{source.stem}: {name}"):
                matched.add(arch)
    if options.tensor and not failures and len(matched) != len(options.arch.split(",")):
        failures.append(f"FAIL no kernel matches --tensor {options.tensor}")
    print("\n".join(failures) if failures else f"{len(jobs)} compilations, nothing to object to")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
