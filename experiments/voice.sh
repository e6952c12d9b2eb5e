#!/usr/bin/env bash
# How intelligible is a small voice before and after its training? Digits by two speakers, from nothing.
#
#   experiments/voice.sh CORPORA OUT JUDGE
#
# JUDGE is a recogniser of English digits (that of experiments/back_translation.sh digits: OUT/digits/model). Before: the
# network as it is drawn, after one update. Both read the ten words; the reference is the dev speaker. Ten minutes to an
# hour on one core; the same command goes on after a stop.
set -euo pipefail
CORPORA=${1:?folder of the corpora}
OUT=${2:?folder for the results}
JUDGE=${3:?recogniser that judges}
UPDATES=${UPDATES:-4000}
mkdir -p "$OUT"
export OMP_NUM_THREADS=1 ORATURE_STORE="$OUT/store-voice"
printf '%s\n' zero one two three four five six seven eight nine > "$OUT/number_words.txt"
[ -d "$OUT/digits-corpus" ] || orature ingest "$CORPORA/digits_fsdd" --to "$OUT/digits-corpus" --lang en
[ -d "$OUT/words" ] || orature text "$OUT/number_words.txt" --to "$OUT/words" --lang en --characters 2:20 --words 1:3 \
  --language-check none
for updates in 1 "$UPDATES"; do
  orature train-voice "$OUT/digits-corpus" --to "$OUT/voice-$updates" --lang en --threads 1 --device cpu --set updates="$updates"
  orature synthesise "$OUT/words" --voice "vits:$OUT/voice-$updates" --to "$OUT/spoken-$updates" --lang en \
    --readings 40 --realism none --reject-limit 1 \
    --set 'unchecked=[truncated,clipped,too-fast,too-slow,cut-off]' --set split=dev
  orature judge "$OUT/spoken-$updates" --reference "$OUT/digits-corpus" --judge "$JUDGE" --split dev --metric cer --lang en \
    --to "$OUT/judged-$updates"
done
