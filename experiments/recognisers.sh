#!/usr/bin/env bash
# What does a start in another language, rehearsal, language identification and a language model change on real speech?
#
#   experiments/recognisers.sh CORPORA OUT
#
# CORPORA holds kichwa_killkan, yoruba_ogunlao and cherokee_walc1 (non-commercial); OUT receives models and reports. The
# Kichwa start is the first row of RESULTS.md (experiments/first_baselines.sh). On two cores: about two hours.
set -euo pipefail
CORPORA=${1:?folder of the corpora}
OUT=${2:?folder for the results}
export OMP_NUM_THREADS=1 ORATURE_STORE="$OUT/store"
mkdir -p "$OUT"
for name in kichwa_killkan yoruba_ogunlao cherokee_walc1; do
  orature ingest "$CORPORA/$name" --to "$OUT/$name"
done
KICHWA="$OUT/kichwa/model"
[ -d "$KICHWA" ] || orature up "$CORPORA/kichwa_killkan" --to "$OUT/kichwa" --scale dev --threads 1 \
  --set updates=3000 --set evaluate_every=150

# 1. Cherokee: from nothing, from Kichwa, from Kichwa with rehearsal, at equal fine-tuning compute (10 h of audio).
EQUAL=(--scale dev --threads 1 --set updates=600 --set batch_seconds=60 --set accumulate=1 --set evaluate_every=60)
orature up "$CORPORA/cherokee_walc1" --to "$OUT/chr-scratch" "${EQUAL[@]}"
orature up "$CORPORA/cherokee_walc1" --to "$OUT/chr-kichwa" "${EQUAL[@]}" \
  --start "$KICHWA" --set head=extend --guard "$OUT/kichwa_killkan"
orature up "$CORPORA/cherokee_walc1" --to "$OUT/chr-rehearse" "${EQUAL[@]}" \
  --start "$KICHWA" --set head=extend --rehearse "$OUT/kichwa_killkan"
orature compare "$OUT/chr-scratch" "$OUT/chr-kichwa"
orature compare "$OUT/chr-kichwa" "$OUT/chr-rehearse"

# 2. Three languages in one model, with language identification and without.
for weight in 0 1; do
  orature train "$OUT/kichwa_killkan" "$OUT/yoruba_ogunlao" "$OUT/cherokee_walc1" --to "$OUT/multi$weight" \
    --start "$KICHWA" --set head=extend --scale dev --threads 1 --set updates=500 --set batch_seconds=100 \
    --set accumulate=1 --set evaluate_every=100 --set select=macro-cer --set loss_scale=sqrt-length \
    --set lid_weight=$weight
  for name in kichwa_killkan yoruba_ogunlao cherokee_walc1; do
    orature evaluate "$OUT/multi$weight" "$OUT/$name" --to "$OUT/multi$weight-$name" --threads 1
  done
done
for name in kichwa_killkan yoruba_ogunlao cherokee_walc1; do
  orature compare "$OUT/multi0-$name" "$OUT/multi1-$name"
done

# 3. Kichwa: language models of the train transcripts and 380 further sentences, weighed on dev, measured on test.
for unit in word character; do
  orature lm "$CORPORA/kichwa_killkan/text_only.tsv" --corpus "$OUT/kichwa_killkan" --model "$KICHWA" \
    --unit $unit --to "$OUT/lm-$unit"
done
orature tune "$KICHWA" "$OUT/kichwa_killkan" --lm "$OUT/lm-word" --lm "$OUT/lm-character" --to "$OUT/decoder" --threads 1
orature evaluate "$KICHWA" "$OUT/kichwa_killkan" --to "$OUT/kichwa-best-path" --threads 1
orature evaluate "$KICHWA" "$OUT/kichwa_killkan" --decoder "$OUT/decoder" --to "$OUT/kichwa-lm" --threads 1
orature compare "$OUT/kichwa-best-path" "$OUT/kichwa-lm"
