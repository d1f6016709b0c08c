#!/usr/bin/env bash
# Table 1 of "Adversarial Data Encryption" at the paper's scale on one GPU: ResNet-50 as base; DenseNet-100bc,
# PreResNet-110 and VGG-19 trained on perturbed CIFAR-10. Runs for at most LIMIT seconds and is called again until it
# says that nothing is left: trainings go on from their last epoch, perturbations from their last 2,500 images.
#
# Usage: bash benchmarks/gpu_paper.sh CIFAR10 [TABLE...]   CIFAR10: training images, as for `torchprotect export`;
#                                                          TABLE: table1 (default), table2 or table7
#
#   LIMIT  seconds; default 540
#   TESTS  test images, if they are not named as the training images are
#   OUT    folder for results, which is kept between calls; default benchmarks/results/paper
#   SCALE  default paper; "check" with CIFAR10=drawn shows that everything runs
#
# Needs python3 with torch and torchvision, and pytorchcv for the networks of the paper.
set -uo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd) || exit 2
if (($# < 1)); then
    sed -n '2,16s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
    exit 2
fi
source=$1
shift
tables=("${@:-table1}")
limit=${LIMIT:-540}
out=${OUT:-$root/benchmarks/results/paper}
given=(--scale "${SCALE:-paper}" --out "$out")
if [[ $source != drawn ]]; then given+=(--source "$source"); fi
if [[ -n ${TESTS:-} ]]; then given+=(--tests "$TESTS"); fi
export PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1

end=$((SECONDS + limit))
for table in "${tables[@]}"; do
    left=$((end - SECONDS))
    if ((left < 5)); then
        echo "time is up before $table; call again"
        exit 75
    fi
    # an interrupt, so that the script says what is left
    timeout --signal=INT --kill-after=20 "$left" python3 "$root/examples/reproduce/adversarial/$table.py" "${given[@]}"
    status=$?
    if ((status == 124 || status == 137)); then
        echo "time is up in $table; call again"
        exit 75
    fi
    if ((status)); then exit "$status"; fi
done
echo "nothing is left of ${tables[*]}: the tables are in $out"
