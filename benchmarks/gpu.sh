#!/usr/bin/env bash
# Everything that needs a GPU, in one call: build the kernels, test them, look for memory errors and races, measure.
#
# Usage: bash benchmarks/gpu.sh [STEP...]        steps: build test memcheck racecheck benchmark; default: all
#
# Needs an NVIDIA GPU, nvcc, cmake with ninja or make, and a python3 with torch, torchvision, pytest and hypothesis; no
# network. Python packages that are missing there are taken from ./wheels; the tests ask for pycryptodome. Logs and
# JSON, ten files, land in $OUT, or benchmarks/results/gpu. A step that fails does not stop the next; the exit status
# says whether any did.
#
#   LIMIT      seconds a step may take; default 240
#   ARGUMENTS  for the benchmarks, such as "--quick"
set -uo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 2
root=$PWD
out=${OUT:-benchmarks/results/gpu}
limit=${LIMIT:-240}
read -r -a arguments <<<"${ARGUMENTS:-}"
mkdir -p "$out" || exit 2
out=$(cd "$out" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=()
skipped=77

# cmake and ninja may have come with python3's packages; CUDA's programs are often beside the PATH
PATH="$(python3 -c 'import sysconfig; print(sysconfig.get_path("scripts"))'):$PATH:/usr/local/cuda/bin"
PATH="$PATH:/usr/local/cuda/compute-sanitizer"
export PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
export PYTHONPATH="$root:$work/site${PYTHONPATH:+:$PYTHONPATH}"

limited() { timeout --kill-after=10 "$limit" "$@"; }

step() { # step NAME COMMAND...: run it, keep its log, remember a failure
    local name=$1 start=$SECONDS verdict
    shift
    printf '\n== %s\n' "$name"
    "$@" 2>&1 | tee "$out/$name.log"
    case ${PIPESTATUS[0]} in
    0) verdict=ok ;;
    "$skipped") verdict=skipped ;;
    *) verdict=FAILED failed+=("$name") ;;
    esac
    printf -- '-- %s: %s, %d s\n' "$name" "$verdict" $((SECONDS - start)) | tee -a "$out/summary.txt"
}

have() { command -v "$1" >/dev/null 2>&1; }

environment() {
    install_wheels || return
    date -u +%Y-%m-%dT%H:%M:%SZ
    nvidia-smi
    nvcc --version
    python3 - <<'PY'
import sys

import torch
import torchvision

print(sys.version, torch.__version__, torchvision.__version__)
assert torch.cuda.is_available(), "PyTorch sees no GPU: the tests would all be skipped"
PY
}

install_wheels() {
    local wheels=("$root"/wheels/*.whl)
    [[ -e ${wheels[0]} ]] || return 0
    python3 -m pip install --quiet --no-index --no-deps --no-compile --target "$work/site" "${wheels[@]}"
}

build() { # the CMake project itself, as scikit-build-core would call it
    local generator=()
    if have ninja; then generator=(-G Ninja); fi
    cmake -S cpp_ext -B "$work/build" "${generator[@]}" -DCMAKE_BUILD_TYPE=Release -DTORCHPROTECT_CUDA=ON || return
    limited cmake --build "$work/build" --parallel "$(nproc)" || return
    cmake --install "$work/build" --prefix "$root" || return # to torchprotect/lib
    python3 - <<'PY'
from torchprotect import ops

found = ops.backend()
print(found)
assert all(kinds["cuda"] == "compiled" for kinds in found.values()), "the CUDA kernels are not loaded"
PY
}

run_tests() {
    limited python3 -m pytest -m cuda --continue-on-collection-errors -p no:cacheprovider
}

write_sanitized_script() {
    cat >"$work/sanitized.py" <<'PY'
"""Small calls of all three operators on a GPU, compared with the CPU's results."""

import torch

from torchprotect import ops

torch.manual_seed(0)
LAYOUTS = {
    "plain": lambda x: x,
    "channels last": lambda x: x.contiguous(memory_format=torch.channels_last),
    "shifted": lambda x: torch.cat([x.flatten()[:1], x.flatten()])[1:].view(x.shape),
    "sliced": lambda x: torch.stack([x, x], -1)[..., 0],
}


def draw(layout, shape, dtype):
    return LAYOUTS[layout](torch.randint(0, 256, shape, dtype=torch.uint8, device="cuda").to(dtype))


def check(name, image, *arguments):
    operator, out = getattr(torch.ops.torchprotect, name), torch.zeros_like(image)
    expected = operator.default(*(a.cpu() if isinstance(a, torch.Tensor) else a for a in (image, *arguments))).double()
    operator.out(image, *arguments, out=out)
    for result in (operator.default(image, *arguments), out):
        close = torch.allclose(result.cpu().double(), expected, rtol=1e-5, atol=1e-2)  # exact ones are tested elsewhere
        assert close, (name, image.shape, image.stride(), image.dtype, *arguments[1:])


def order_of(positions):
    return torch.randperm(positions, device="cuda")


assert all(kinds["cuda"] == "compiled" for kinds in ops.backend().values())
for layout in LAYOUTS:
    for block, size in (((16, 16), 32), ((8, 8), 24), ((7, 7), 28), ((4, 4), 12), ((3, 5), 30)):
        order = order_of(size // block[0] * (size // block[1]))
        for dtype in (torch.uint8, torch.float32, torch.float64):
            check("block_permute", draw(layout, (3, 3, size, size), dtype), order, block)
    for block, size in (((4, 4), 28), ((8, 8), 24), ((16, 16), 32), ((2, 8), 8)):
        positions = size // block[0] * (size // block[1])
        for channels, length, decrypt in ((1, 16, False), (3, 16, True), (3, 24, False), (1, 32, True)):
            keys = draw("plain", (positions, channels, length), torch.uint8)
            for order in (None, order_of(positions)):
                check("aes_ecb", draw(layout, (3, 3, size, size), torch.uint8), keys, block, decrypt, order)
    for m, size in ((4, 28), (7, 28), (8, 24), (16, 32), (32, 64)):
        positions = (size // m) ** 2
        for channels, left, dtype in ((1, False, torch.float32), (3, True, torch.float32), (1, False, torch.float64)):
            matrices = torch.randn(positions, channels, m, m, dtype=dtype, device="cuda")
            for order in (None, order_of(positions)):
                check("block_matmul", draw(layout, (3, 3, size, size), dtype), matrices, (m, m), left, order)
torch.cuda.synchronize()
print("all results as on the CPU")
PY
}

sanitize() { # sanitize TOOL
    if ! have compute-sanitizer; then
        echo "there is no compute-sanitizer"
        return "$skipped"
    fi
    write_sanitized_script || return
    # without PyTorch's cache every tensor is an allocation of its own, so that a step past its end is seen
    export PYTORCH_NO_CUDA_MEMORY_CACHING=1
    limited compute-sanitizer --tool "$1" --error-exitcode 9 python3 "$work/sanitized.py"
}

measure() {
    local name status=0
    for name in kernels adversarial owsd; do
        limited python3 "benchmarks/$name.py" --device cuda --out "$out/$name.json" "${arguments[@]}" || status=1
    done
    return "$status"
}

run() {
    case $1 in
    build) step build build ;;
    test) step test run_tests ;;
    memcheck | racecheck) step "$1" sanitize "$1" ;;
    benchmark) step benchmark measure ;;
    *)
        printf 'no such step: %s\n' "$1" >&2
        failed+=("$1")
        ;;
    esac
}

steps=("$@")
((${#steps[@]})) || steps=(build test memcheck racecheck benchmark)
: >"$out/summary.txt"
step environment environment
for name in "${steps[@]}"; do run "$name"; done

printf '\nlogs and results: %s\n' "$out"
if ((${#failed[@]})); then
    printf 'failed: %s\n' "${failed[*]}" | tee -a "$out/summary.txt"
    exit 1
fi
