#!/usr/bin/env bash
# What untranscribed speech brings by pseudo-labels: slimIPL and a student, beside labelled speech alone.
#
#   experiments/pseudo_label.sh CORPORA OUT [STEP...]        steps: digits kichwa yoruba crops teachers languages
#
# CORPORA holds the corpora named below; OUT receives models and figures. Every step goes on where it was.
set -euo pipefail
CORPORA=${1:?folder of the corpora}
OUT=${2:?folder for the results}
STEPS=${*:3}
STEPS=${STEPS:-digits kichwa yoruba crops teachers languages}
export OMP_NUM_THREADS=1
mkdir -p "$OUT"
step() { [[ " $STEPS " == *" $1 "* ]]; }
for name in digits_fsdd kichwa_killkan yoruba_ogunlao; do
  [ -d "$OUT/$name" ] || orature ingest "$CORPORA/$name" --to "$OUT/$name"
done
COMMON=(--threads 1 --set train.batch_seconds=40 --set train.accumulate=1 --set train.precision=bf16)

# 1. Few labels plus untranscribed speech against few labels alone, at equal updates. Digits: one speaker is transcribed.
step digits && orature run pseudo_label "$OUT/digits_fsdd" --to "$OUT/digits" "${COMMON[@]}" \
  --set speakers=[jackson] --set slim.updates=600 --set student.updates=600
step kichwa && orature run pseudo_label "$OUT/kichwa_killkan" --to "$OUT/kichwa" "${COMMON[@]}" \
  --set minutes=10 --set slim.updates=900 --set student.updates=900
step yoruba && orature run pseudo_label "$OUT/yoruba_ogunlao" --to "$OUT/yoruba" "${COMMON[@]}" \
  --set minutes=10 --set slim.updates=900 --set student.updates=900

# 2. Cropping for labelling, on recordings of ten seconds and more: never, for a while, always. On dev.
for crops in 0 150 -1; do
  step crops && orature run pseudo_label "$OUT/yoruba_ogunlao" --to "$OUT/crops$crops" "${COMMON[@]}" --set split=dev \
    --set minutes=10 --set slim.updates=900 --set pseudo.crop_s=5 --set "pseudo.crop_updates=$crops" --set final=none
done

# 3. Teachers. On dev.
for teacher in current ema top fixed; do
  step teachers && orature run pseudo_label "$OUT/kichwa_killkan" --to "$OUT/$teacher" "${COMMON[@]}" --set split=dev \
    --set minutes=10 --set slim.updates=900 --set "pseudo.teacher=$teacher" --set pseudo.ema_decay=0.99 --set final=none
done

# 4. Two languages: a common model, slimIPL for each, one student.
step languages && orature run pseudo_label "$OUT/kichwa_killkan" "$OUT/yoruba_ogunlao" --to "$OUT/languages" \
  "${COMMON[@]}" --set minutes=10 --set slim.updates=600 --set student.updates=900
true
