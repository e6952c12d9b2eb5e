#!/usr/bin/env bash
# What untranscribed speech brings by pseudo-labels: slimIPL and a student, beside labelled speech alone.
#
#   experiments/pseudo_label.sh CORPORA OUT [STEP...]        steps: digits kichwa yoruba wrong crops teachers languages
#
# CORPORA holds the corpora named below; OUT receives models and figures; BASE is a model of phones that has heard none
# of these corpora (experiments/base.sh, step base), "base" where it does not matter. Every step goes on where it was.
set -euo pipefail
CORPORA=${1:?folder of the corpora}
OUT=${2:?folder for the results}
STEPS=${*:3}
STEPS=${STEPS:-digits kichwa yoruba wrong crops teachers languages}
export OMP_NUM_THREADS=1
mkdir -p "$OUT"
step() { [[ " $STEPS " == *" $1 "* ]]; }
for name in digits_fsdd kichwa_killkan yoruba_ogunlao cherokee_walc1; do
  [ -d "$OUT/$name" ] || orature ingest "$CORPORA/$name" --to "$OUT/$name"
done
BASE=${BASE:-base}
COMMON=(--threads 1 --set train.batch_seconds=20 --set train.accumulate=1 --set train.precision=bf16
  --set "start=$BASE" --set pseudo.replace=0.2 --set pseudo.teacher=ema --set final=none)
SENTENCES=(--set minutes=10 --set tune.updates=1200 --set slim.updates=600 --set slim.evaluate_every=60
  --set pseudo.ratio=3 --set pseudo.cache=90 --set pseudo.ema_decay=0.995)
DIGITS=(--set speakers=[jackson] --set tune.updates=800 --set slim.updates=300 --set slim.evaluate_every=30
  --set pseudo.ratio=2 --set pseudo.cache=5 --set pseudo.ema_decay=0.99)

# 1. Few labels plus untranscribed speech against few labels alone, at equal updates. Digits: one speaker is transcribed.
#    SEEDS says how many trainings of each (default: 10 and 6).
over_seeds() { # NAME SEEDS: labels alone against slimIPL
  local pairs=() seed
  for seed in $(seq "$2"); do pairs+=("$OUT/$1-$seed/scores/"*/{labels-alone,slimIPL}); done
  orature compare "${pairs[@]}"
}
if step digits; then
  for seed in $(seq "${SEEDS:-10}"); do
    orature run pseudo_label "$OUT/digits_fsdd" --to "$OUT/digits-$seed" --seed "$seed" "${COMMON[@]}" "${DIGITS[@]}"
  done
  over_seeds digits "${SEEDS:-10}"
fi
if step kichwa; then
  for seed in $(seq "${SEEDS:-6}"); do
    orature run pseudo_label "$OUT/kichwa_killkan" --to "$OUT/kichwa-$seed" --seed "$seed" "${COMMON[@]}" "${SENTENCES[@]}"
  done
  over_seeds kichwa "${SEEDS:-6}"
fi
step yoruba && orature run pseudo_label "$OUT/yoruba_ogunlao" --to "$OUT/yoruba" "${COMMON[@]}" "${SENTENCES[@]}" \
  --set start=base --set tune.updates=1000 --set slim.updates=500 --set slim.evaluate_every=50 --set pseudo.cache=80

# 2. Kichwa with the untranscribed speech of another language: Yoruba.
step wrong && orature run pseudo_label "$OUT/kichwa_killkan" --to "$OUT/wrong" --store "$OUT/kichwa-1/.orature" "${COMMON[@]}" "${SENTENCES[@]}" \
  --set "unlabelled.kichwa_killkan=$OUT/yoruba_ogunlao"

# 3. Cropping for labelling where labelled clips are short and untranscribed recordings long: never, for a while, always.
if step crops; then
  [ -d "$OUT/short" ] || python "${0%/*}/long_recordings.py" "$CORPORA/kichwa_killkan" "$OUT/short"
  [ -d "$OUT/long" ] || orature ingest "$OUT/short" --to "$OUT/long"
  for crops in 0 100 -1; do
    orature run pseudo_label "$OUT/long" --to "$OUT/crops$crops" --store "$OUT/crops-store" "${COMMON[@]}" \
      --set split=dev --set alone=false --set tune.updates=600 --set slim.updates=300 --set slim.evaluate_every=25 \
      --set pseudo.ratio=3 --set pseudo.cache=30 --set pseudo.batch_seconds=40 --set pseudo.teacher=current \
      --set pseudo.crop_s=10 --set "pseudo.crop_updates=$crops"
  done
fi

# 4. Teachers. On dev.
for teacher in current ema top fixed; do
  step teachers && orature run pseudo_label "$OUT/kichwa_killkan" --to "$OUT/$teacher" --store "$OUT/teachers-store" \
    "${COMMON[@]}" "${SENTENCES[@]}" --set split=dev --set "pseudo.teacher=$teacher"
done

# 5. Fine-tuned first against pooled, and a student with its last pass: one language with untranscribed speech, one without.
if step languages; then
  [ -d "$OUT/ten" ] || python "${0%/*}/long_recordings.py" "$CORPORA/kichwa_killkan" "$OUT/ten" --longest 99 --seconds 0
  [ -d "$OUT/k10" ] || orature ingest "$OUT/ten" --to "$OUT/k10"
  orature run pseudo_label "$OUT/k10" "$OUT/cherokee_walc1" --to "$OUT/languages" "${COMMON[@]}" --set split=dev \
    --set train.updates=300 --set train.evaluate_every=50 --set slim_over=both --set alone=false \
    --set pseudo.ratio=3 --set pseudo.cache=60 --set pseudo.ema_decay=0.99 --set final=continue \
    --set student.updates=400
fi
true
