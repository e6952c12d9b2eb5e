#!/usr/bin/env bash
# What speech translation from a rich language brings a target, beside scratch and direct transfer.
#
#   experiments/speech_translation.sh CORPORA OUT [STEP...]        steps: rich arms more rich_too nothing
#
# Target: Kichwa, real speech. Rich language: Spanish, SYNTHETIC speech: espeak-ng voices read the Spanish translations of
# the Kichwa train transcripts and of the pairs without audio. A rich corpus of real speech would take its place. CORPORA
# holds kichwa_killkan; OUT receives models and figures. Every step goes on where it was.
set -euo pipefail
CORPORA=${1:?folder of the corpora}
OUT=${2:?folder for the results}
STEPS=${*:3}
STEPS=${STEPS:-rich arms more rich_too nothing}
SOURCE=$CORPORA/kichwa_killkan
export OMP_NUM_THREADS=1 ORATURE_STORE=$OUT/store
mkdir -p "$OUT"
step() { [[ " $STEPS " == *" $1 "* ]]; }

# 1. Pairs of Spanish and Kichwa with their splits, translations of the train sentences by persons, and Spanish speech.
if step rich; then
  awk -F'\t' 'NR == 1 { print "es\tque\tsplit" } NR > 1 { print $3 "\t" $2 "\t" $5 }' \
    "$SOURCE/translations.tsv" > "$OUT/pairs.tsv"
  awk -F'\t' 'NR > 1 { print $2 "\t" $1 "\ttrain" }' "$SOURCE/text_only.tsv" >> "$OUT/pairs.tsv"
  awk -F'\t' 'NR == 1 { print "sentence\ttranslation" } $3 == "train" { print $1 "\t" $2 }' \
    "$OUT/pairs.tsv" > "$OUT/by_hand.tsv"
  cut -f1 "$OUT/by_hand.tsv" > "$OUT/spanish.tsv"
  [ -d "$OUT/kichwa" ] || orature ingest "$SOURCE" --to "$OUT/kichwa"
  [ -d "$OUT/text" ] || orature text "$OUT/spanish.tsv" --to "$OUT/text" --lang es --no-split --language-check none \
    --near-duplicates 0 --licence "CC BY 4.0"
  [ -d "$OUT/spanish" ] || orature synthesise "$OUT/text" --voice espeak --to "$OUT/spanish" --realism none
fi

# 7 M parameters, 20 s an update, in all arms the same training on Kichwa: about an hour and a half on two quiet cores.
COMMON=(--threads 2 --set rich="$OUT/spanish" --set parallel="$OUT/pairs.tsv" --set human="$OUT/by_hand.tsv"
  --set train.batch_seconds=20 --set train.peak_lr=7e-4 --set train.precision=bf16 --set train.evaluate_every=100
  --set train.augment.noise_probability=0.2 --set rich_asr.updates=300 --set st.updates=400
  --set text_pretraining.updates=400 --set target.updates=700 --set kind=dictionary
  --set text="$OUT/kichwa.txt")
awk -F'\t' 'NR > 1 { print $1 }' "$SOURCE/text_only.tsv" > "$OUT/kichwa.txt"

# 2. The encoder is that of the model that comes with the package; direct transfer has as many updates in all as
# translation-enhanced transfer. Translators see a quarter, a half and all of the pairs; they are dictionaries, which of
# two thousand pairs translate better than a Transformer does (experiments/translators.sh).
step arms && orature run speech_translation "$OUT/kichwa" --to "$OUT/arms" "${COMMON[@]}" --set pairs=[0.25,0.5,1] \
  --set arms=[scratch,encoder_longer,encoder_decoder_longer,st_human,st_good,st_pairs_50,st_low]

# 3. Recognition and translation in one training, and a decoder that has read text alone.
step more && orature run speech_translation "$OUT/kichwa" --to "$OUT/more" "${COMMON[@]}" --set pairs=1 \
  --set arms=[encoder_longer,joint,text_decoder]

# 4. Joint training that also transcribes Spanish, each language with a token of its own.
step rich_too && orature run speech_translation "$OUT/kichwa" --to "$OUT/rich_too" "${COMMON[@]}" --set pairs=1 \
  --set joint_rich=true --set arms=[encoder_longer,joint]

# 5. The same question where the encoder, too, begins from nothing, as in the source.
step nothing && orature run speech_translation "$OUT/kichwa" --to "$OUT/nothing" "${COMMON[@]}" --set start=none \
  --set pairs=1 --set arms=[scratch,encoder_longer,encoder_decoder_longer,st_human,st_good]
true
