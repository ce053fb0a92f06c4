"""Static evidence about the CUDA kernels, and that evidence.py objects to what it should object to."""
import os
import pathlib
import subprocess
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import evidence  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[2]
needs_nvcc = pytest.mark.skipif(not evidence.tool("nvcc"), reason="nvcc is not installed")
needs_nvdisasm = pytest.mark.skipif(not evidence.tool("nvdisasm"), reason="nvdisasm is not installed")

SPILLING = """
// Eighty values that depend on each other's neighbours, with registers for few of them.
__global__ void __launch_bounds__(1024) crowded(float *out, const float *in)
{
    float v[80];
#pragma unroll
    for (int i = 0; i < 80; i++)
        v[i] = in[i * 1024 + threadIdx.x];
    for (int round = 0; round < 8; round++)
#pragma unroll
        for (int i = 0; i < 80; i++)
            v[i] = v[i] * v[(i + 1 + 7 * 1) % 80] + v[(i + 3) % 80];
#pragma unroll
    for (int i = 0; i < 80; i++)
        out[i * 1024 + threadIdx.x] = v[i];
}
"""
PLAIN = """
__global__ void __launch_bounds__(128) plain(float *out, const float *in)
{
    out[threadIdx.x] = in[threadIdx.x] * 2.0f;
}
"""
TENSOR = """
#include <mma.h>
using namespace nvcuda;
__global__ void __launch_bounds__(32) product(float *d, const half *a, const half *b)
{
    wmma::fragment<wmma::matrix_a, 16, 16, 16, half, wmma::row_major> x;
    wmma::fragment<wmma::matrix_b, 16, 16, 16, half, wmma::col_major> y;
    wmma::fragment<wmma::accumulator, 16, 16, 16, float> z;
    wmma::fill_fragment(z, 0.0f);
    wmma::load_matrix_sync(x, a, 16);
    wmma::load_matrix_sync(y, b, 16);
    wmma::mma_sync(z, x, y, z);
    wmma::store_matrix_sync(d, z, 16, wmma::mem_row_major);
}
"""


def run(*arguments):
    done = subprocess.run([sys.executable, str(ROOT / "tests/cuda/evidence.py"), *map(str, arguments)], capture_output=True,
                          text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def source(tmp_path, text):
    path = tmp_path / "kernel.cu"
    path.write_text(text)
    return path


def test_ptxas_output_is_read():
    kernels = evidence.parse_ptxas("""
ptxas info    : Compiling entry function '_Z1av' for 'sm_90'
ptxas info    : Function properties for _Z1av
    8 bytes stack frame, 12 bytes spill stores, 16 bytes spill loads
ptxas info    : Used 40 registers, used 1 barriers, 4096 bytes smem, 360 bytes cmem[0]
ptxas info    : Compiling entry function '_Z1bv' for 'sm_90'
ptxas info    : Function properties for _Z1bv
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 8 registers, used 0 barriers
""")
    assert kernels["_Z1av"] == {"registers": 40, "shared": 4096, "spill": 28, "stack": 8}
    assert kernels["_Z1bv"] == {"registers": 8, "shared": 0, "spill": 0, "stack": 0}


def test_sass_is_counted():
    assert evidence.parse_sass("""
	.section	.text._Z1av,"ax",@progbits
        /*0010*/  HMMA.16816.F32 R4, R8, R12, R4 ;
        /*0020*/  HMMA.16816.F32 R4, R8, R12, R4 ;
        /*0030*/  FFMA R4, R8, R12, R4 ;
	.section	.text._Z1bv,"ax",@progbits
        /*0010*/  FFMA R4, R8, R12, R4 ;
""") == {"_Z1av": {"HMMA": 2}, "_Z1bv": {}}


# Worked by hand from the limits: 64 warps, 65536 registers in units of 256 a warp, a kilobyte of each block reserved.
@pytest.mark.parametrize("arch, registers, shared, threads, percent", [
    ("sm_90", 32, 0, 256, 100),
    ("sm_90", 33, 0, 256, 75),  # 40 a thread: 1280 a warp, 51 warps, 6 blocks of 8
    ("sm_90", 255, 0, 256, 12),
    ("sm_90", 32, 113 * 1024, 128, 12),  # two blocks of four warps
    ("sm_90", 16, 0, 32, 50),  # 32 blocks
    ("sm_120", 32, 0, 1024, 66),  # one block of 32 of 48 warps
])
def test_occupancy(arch, registers, shared, threads, percent):
    assert evidence.occupancy(arch, registers, shared, threads) == percent


@needs_nvcc
def test_spills_are_objected_to(tmp_path):
    status, output = run("--arch", "sm_80", source(tmp_path, SPILLING))
    assert status == 1 and "FAIL sm_80 kernel: crowded: spills" in output, output


@needs_nvcc
def test_what_is_fine_passes(tmp_path):
    status, output = run("--arch", "sm_80,sm_90", "--occupancy", "100", source(tmp_path, PLAIN))
    assert status == 0 and "nothing to object to" in output, output
    status, output = run("--arch", "sm_80", "--occupancy", "100", "--dynamic", "plain=100000", source(tmp_path, PLAIN))
    assert status == 1 and "occupancy 6 %, under 100 %" in output, output


@needs_nvcc
def test_warnings_are_objected_to(tmp_path):
    status, output = run("--arch", "sm_80", source(tmp_path, "__global__ void k(int *p) { int unused; *p = 1; }\n"))
    assert status == 1 and "does not compile without warnings" in output and "unused" in output, output


@needs_nvcc
@needs_nvdisasm
def test_tensor_cores_are_demanded(tmp_path):
    status, output = run("--arch", "sm_80,sm_90", "--tensor", "product", source(tmp_path, TENSOR))
    assert status == 0 and "HMMA" in output, output
    status, output = run("--arch", "sm_80", "--tensor", "plain", source(tmp_path, PLAIN))
    assert status == 1 and "FAIL sm_80 kernel: plain: no tensor-core instruction" in output, output
    status, output = run("--arch", "sm_80", "--tensor", "absent", source(tmp_path, PLAIN))
    assert status == 1 and "no kernel matches" in output, output


def test_without_nvcc_it_says_so(tmp_path):
    done = subprocess.run([sys.executable, str(ROOT / "tests/cuda/evidence.py"), str(source(tmp_path, PLAIN))],
                          capture_output=True, text=True, check=False,
                          env={**os.environ, "PATH": "/nonexistent", "CUDA_HOME": "/nonexistent"})
    assert done.returncode == evidence.SKIPPED and done.stdout == "SKIPPED: nvcc is not installed\n"


# The ordinary build compiles every kernel for every architecture, warnings being errors; one of them is looked into here, or
# those of LUMIGRID_EVIDENCE_ARCH (sm_80,sm_90,sm_100,sm_120 takes minutes).
@needs_nvcc
def test_shipped_kernels():
    sources = sorted((ROOT / "worker/backend/cuda").glob("*.cu"))
    assert sources
    status, output = run("--arch", os.environ.get("LUMIGRID_EVIDENCE_ARCH", "sm_90"), "--tensor", "product_tile", *sources)
    print(output)
    assert status == 0, output
