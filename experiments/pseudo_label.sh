#!/usr/bin/env bash
# What untranscribed speech brings by pseudo-labels: slimIPL and a student, beside labelled speech alone.
#
#   experiments/pseudo_label.sh CORPORA OUT [STEP...]        steps: digits kichwa yoruba wrong crops
#                                                 collapse teachers languages
#
# CORPORA holds the corpora named below; OUT receives models and figures; BASE is a model of phones that has heard none
# of these corpora (experiments/base.sh, step base), "base" where it does not matter. Every step goes on where it was.
set -euo pipefail
CORPORA=${1:?folder of the corpora}
OUT=${2:?folder for the results}
STEPS=${*:3}
STEPS=${STEPS:-digits kichwa yoruba wrong crops collapse teachers languages}
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

#    The same from nothing with a Transformer that has heard single digits (0.5 s, 3.5 minutes) and labels 30 s of them:
#    `none` is never cropped and not watched.
if step collapse; then
  [ -d "$OUT/short-digits" ] || python "${0%/*}/long_recordings.py" "$CORPORA/digits_fsdd" "$OUT/short-digits" \
    --labelled-minutes 3.5 --longest 1
  [ -d "$OUT/long-digits" ] || orature ingest "$OUT/short-digits" --to "$OUT/long-digits"
  UNWATCHED=()
  for check in length_ratio empty_share probe_distance labelled_loss dev_loss; do
    UNWATCHED+=(--set "pseudo.watch.$check=none")
  done
  for crops in 0 60 -1 none; do
    [ "$crops" = none ] && watched=("${UNWATCHED[@]}") || watched=()
    orature run pseudo_label "$OUT/long-digits" --to "$OUT/collapse$crops" --store "$OUT/collapse-store" --threads 1 \
      --set start=none --set train.network=transformer --set train.size=tiny --set train.batch_seconds=20 \
      --set train.accumulate=1 --set train.augment.join_probability=0 --set split=dev --set alone=false --set final=none \
      --set tune.updates=700 --set tune.evaluate_every=70 --set slim.updates=200 --set slim.evaluate_every=20 \
      --set pseudo.ratio=3 --set pseudo.cache=3 --set pseudo.replace=0.2 --set pseudo.batch_seconds=40 \
      --set pseudo.teacher=current --set pseudo.crop_s=2 --set "pseudo.crop_updates=${crops/none/0}" "${watched[@]}"
  done
fi

# 4. Teachers: the model itself with and without a cache, its moving average, its best checkpoints, none but the start;
#    and after the moving average a final student. On dev.
if step teachers; then
  teach() { # NAME OPTION...
    orature run pseudo_label "$OUT/digits_fsdd" --to "$OUT/teacher-$1" --store "$OUT/teachers-store" \
      "${COMMON[@]}" "${DIGITS[@]}" --set split=dev "${@:2}"
  }
  teach ema --set final=continue --set student.updates=300
  for teacher in current top fixed; do teach "$teacher" --set "pseudo.teacher=$teacher"; done
  teach naive --set pseudo.teacher=current --set pseudo.cache=0
fi

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
