#!/usr/bin/env bash
# Orature Base: its training, what it brings to real speech, and how that grows with hours and languages.
#
#   experiments/base.sh CORPORA OUT [STEP...]        steps: base real transfer languages hours (default: all)
#
# CORPORA holds text_udhr, multilingual_clips and the five corpora below; OUT receives models and figures. On two cores:
# base takes two hours, real half an hour, transfer three hours, the curves two hours. Every step goes on where it was.
set -euo pipefail
CORPORA=${1:?folder of the corpora}
OUT=${2:?folder for the results}
STEPS=${*:3}
STEPS=${STEPS:-base real transfer languages hours}
export OMP_NUM_THREADS=1
mkdir -p "$OUT"
FIVE=(digits_fsdd speech_commands cherokee_walc1 kichwa_killkan yoruba_ogunlao)
for name in multilingual_clips "${FIVE[@]}"; do
  [ -d "$OUT/$name" ] || orature ingest "$CORPORA/$name" --to "$OUT/$name"
done
# No sentence of anybody's dev or test is spoken; the clips are only measured, once, at the end.
EMBARGO=$(printf '%s,' "${FIVE[@]/#/$OUT/}")
COMMON=("$CORPORA/text_udhr" --scale dev --threads 2 --set 'licences=["UDHR: United Nations, with acknowledgement"]'
  --set "judge=[$OUT/multilingual_clips]" --set "embargo=[${EMBARGO%,}]" --set train.precision=bf16)

step() { [[ " $STEPS " == *" $1 "* ]]; }

# 1. From synthetic speech alone: 72 h in over a hundred languages.
step base && orature run base "${COMMON[@]}" --to "$OUT/base" --set train.updates=2600

# 2. It goes on with real speech of other people mixed in (CC BY 4.0; train splits).
step real && orature run base "${COMMON[@]}" --to "$OUT/base-real" --set "start=$OUT/base/model" \
  --set "real=[$OUT/kichwa_killkan,$OUT/speech_commands]" --set 'train.mix={"origin_weights":{"real":8}}' \
  --set train.updates=600 --set train.peak_lr=5e-4

# 3. From it and from nothing at equal compute.
step transfer && orature run transfer "${FIVE[@]/#/$OUT/}" --to "$OUT/transfer" --threads 1 --set start="$OUT/base/model" \
  --set minutes=[5,30,0] --set updates=[300,600,1000] --set train.batch_seconds=40 --set train.accumulate=1 \
  --set train.precision=bf16

# 4. Curves: languages at 15 h of synthetic speech each, hours in all languages.
SHORT=("$OUT/digits_fsdd" "$OUT/kichwa_killkan" --threads 1 --set minutes=[5] --set updates=[300]
  --set train.batch_seconds=40 --set train.accumulate=1 --set train.precision=bf16 --set arms=[start])
for point in languages:3 languages:10 languages:30 languages:999 hours:4 hours:15 hours:35; do
  kind=${point%:*} value=${point#*:}
  step "$kind" || continue
  extra=(--set train.updates=$([ "$kind" = hours ] && echo $((value * 36)) || echo 540))
  [ "$kind" = languages ] && extra+=(--set "text.languages=[$(head -n "$value" experiments/base_languages.txt | paste -sd,)]")
  orature run base "${COMMON[@]}" --to "$OUT/$kind-$value" "${extra[@]}"
  orature run transfer "${SHORT[@]}" --to "$OUT/transfer-$kind-$value" --set start="$OUT/$kind-$value/model"
done
