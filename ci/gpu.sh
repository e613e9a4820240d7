#!/bin/sh
# Everything that wants an NVIDIA GPU, on the machine that has one: builds for that GPU, runs all
# suites on cuda, cuda-sim and vulkan, runs a reduced set under compute-sanitizer, judges the model
# that comes along, measures speed. Needs no network: what ci/setup installs must be there, and nvcc.
#
# usage: ci/gpu.sh [DIR [STEP...]]
#   DIR   default report-gpu; what it leaves there is below 16 MiB
#   STEP  some of: test sanitizer qualify bench     (default: all)
# ASSAY_BUILD names a build made elsewhere (with ASSAY_CUDA_ARCHS of this GPU) for a machine that has no
# compiler or libraries for one; nothing is built then.
# Exit status: 0 all passed, 1 something failed, 2 usage, 77 no GPU here. Steps go on after a failure.
set -u
cd "$(dirname "$0")/.." || exit 1
out=${1:-report-gpu}
[ $# -eq 0 ] || shift
steps=${*:-test sanitizer qualify bench}
for word in $steps; do
    case $word in
    test | sanitizer | qualify | bench) ;;
    *)
        echo "ci/gpu.sh: no step \"$word\": test, sanitizer, qualify, bench" >&2
        exit 2
        ;;
    esac
done
case $out in /*) ;; *) out=$PWD/$out ;; esac
build=${ASSAY_BUILD:-$PWD/build/gpu}
max_bytes=$((16 * 1024 * 1024))
PATH=$PATH:${CUDA_HOME:-/usr/local/cuda}/bin
mkdir -p "$out" || exit 1

say() { printf 'ci/gpu.sh: %s\n' "$*" | tee -a "$out/summary.txt"; }
skip() {
    say "$*"
    exit 77
}
wanted() { case " $steps " in *" $1 "*) ;; *) return 1 ;; esac; }
failed=0
# step NAME COMMAND...: output in NAME.txt, the outcome in summary.txt. 77 is "nothing to run on".
step() {
    name=$1
    shift
    start=$(date +%s)
    "$@" >"$out/$name.txt" 2>&1
    rc=$?
    case $rc in
    0) verdict=passed ;;
    77) verdict=skipped ;;
    *) verdict="FAILED ($rc)" failed=1 ;;
    esac
    say "$name: $verdict, $(($(date +%s) - start)) s"
    [ $rc -eq 0 ] || tail -n 3 "$out/$name.txt" | sed 's/^/    /' | tee -a "$out/summary.txt"
    return $rc
}

: >"$out/summary.txt"
say "$(git log -1 --format='%h %s' 2>/dev/null || echo 'no git history')"
command -v nvidia-smi >/dev/null 2>&1 || skip "no nvidia-smi: no NVIDIA GPU here"
[ -n "${ASSAY_BUILD:-}" ] || command -v nvcc >/dev/null 2>&1 || skip "no nvcc"
nvidia-smi >"$out/nvidia-smi.txt" 2>&1 || skip "nvidia-smi fails: $(tail -n 1 "$out/nvidia-smi.txt")"
arch=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader | head -n 1 | tr -d '. ')
say "$(nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader | head -n 1), sm_$arch"

# The list's last entry is also built as PTX: this GPU's own code, and the way in for newer ones.
if [ -z "${ASSAY_BUILD:-}" ]; then
    nvcc --version >"$out/nvcc.txt" 2>&1
    step configure cmake --preset default -B "$build" -DASSAY_CUDA_ARCHS="$arch" || exit 1
    step build cmake --build "$build" || exit 1
fi
assay=$build/assay
[ -x "$assay" ] || {
    say "no program $assay"
    exit 1
}
# Models and vectors of this tree, wherever the program was built.
export ASSAY_VECTORS="$PWD/vectors"

if wanted test; then
    for subject in cuda cuda-sim vulkan; do
        step "test-$subject" "$assay" test --subject "$subject" --report "$out/test-$subject.json"
    done
    # Kernels that this device would not get by itself.
    for subject in cuda+general vulkan+words+shared vulkan+narrow vulkan+sets+staging; do
        step "test-$subject" "$assay" test ops decode --subject "$subject" --report "$out/test-$subject.json"
    done
fi

# Every operation in f32, and those on weights and caches in one type per family are enough for a tool
# that looks at every access: the kernels of a family differ in the decoder only.
if wanted sanitizer && command -v compute-sanitizer >/dev/null 2>&1; then
    for tool in memcheck racecheck initcheck synccheck; do
        step "sanitizer-$tool" compute-sanitizer --tool "$tool" --target-processes all \
            --error-exitcode 1 "$assay" test 'ops.*.f32.*.cuda' 'ops.*.f16.*.cuda' \
            'ops.*.q4_K.*.cuda' 'ops.*.q6_K.*.cuda' 'ops.*.q8_0.*.cuda' 'ops.*.iq2_xxs.*.cuda' \
            'ops.kv_write.*.cuda' --timeout 1800
    done
elif wanted sanitizer; then
    say "no compute-sanitizer"
    failed=1
fi

if wanted qualify; then
    step qualify "$assay" qualify --subject cuda,cpu --out "$out/qualify"
    step qualify-archs "$assay" qualify --all-archs --type F16,Q4_K --subject cuda,cpu \
        --out "$out/qualify-archs"
fi

# Bandwidth at one token and speed of a prompt, with weights of known shapes: small, and as large as
# people use. bench NAME SYNTH-OPTION...: figures in bench-NAME.json, and in the summary. A tenth of the
# memory is for all but weights.
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
memory=$(nvidia-smi --query-gpu=memory.total --format=csv,noheader,nounits | head -n 1 | tr -d ' ')
bench() {
    what=$1
    shift
    step "synth-$what" "$assay" synth "$@" --quiet --out "$work/$what.gguf" || return
    if [ "$(wc -c <"$work/$what.gguf")" -gt $((memory * 943718)) ]; then
        say "bench-$what: the model does not fit into the GPU's $memory MiB"
    elif step "bench-$what" "$assay" bench "$work/$what.gguf" --subject cuda --prefill 512 --decode 64 \
        --repeat 5 --kv f16 --report "$out/bench-$what.json"; then
        grep -E '^  (prefill|decode|bandwidth) ' "$out/bench-$what.txt" | tee -a "$out/summary.txt"
    fi
    rm -f "$work/$what.gguf"
}
if wanted bench; then
    for type in F16 Q8_0 Q4_0 Q4_K Q6_K; do
        for shape in llama-1b llama-8b; do
            bench "$shape-$type" --shape "$shape" --type "$type"
        done
    done
    bench gpt-oss-1b-MXFP4 --arch gpt-oss --shape 1b --type MXFP4
fi

# Long logs are cut in the middle: beginning and end say what happened.
for log in "$out"/*.txt; do
    [ "$(wc -c <"$log")" -le 262144 ] && continue
    { head -c 131072 "$log"; printf '\n[...]\n'; tail -c 131072 "$log"; } >"$log.cut" && mv "$log.cut" "$log"
done
size=$(find "$out" -type f -exec cat {} + | wc -c)
if [ "$size" -ge "$max_bytes" ]; then
    say "the report has $size bytes, more than $max_bytes"
    failed=1
fi
say "report: $out"
exit $failed
