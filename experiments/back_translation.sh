#!/usr/bin/env bash
# Does synthetic speech from text help? Three arms at equal compute, the ratio chosen on dev, test opened once an arm.
#
#   experiments/back_translation.sh CORPORA OUT [digits] [yoruba] [kichwa]
#
# CORPORA holds digits_fsdd, kichwa_killkan and yoruba_ogunlao (CONTRIBUTING.md); OUT receives models, reports and the
# store, so that the same command goes on after a stop. Everything is chosen on dev by the recipe itself; the settings
# below were fixed on dev before test was opened with them. UPDATES and DIGIT_UPDATES are those of one training (real
# speech only, and one for each ratio): on one core about twelve minutes each.
set -euo pipefail
CORPORA=${1:?folder of the corpora}
OUT=${2:?folder for the results}
shift 2
[ $# -gt 0 ] || set -- digits yoruba kichwa
UPDATES=${UPDATES:-800}
DIGIT_UPDATES=${DIGIT_UPDATES:-2500}
CALIBRATION_UPDATES=${CALIBRATION_UPDATES:-400}
mkdir -p "$OUT"
CORPORA=$(cd "$CORPORA" && pwd)
OUT=$(cd "$OUT" && pwd)
export OMP_NUM_THREADS=1 ORATURE_STORE="$OUT/store"
COMMON=(--scale dev --threads 1 --device cpu --store "$ORATURE_STORE")

# Only the rows of train that pass an awk condition; dev and test stay whole.
only_train() { # SOURCE TARGET CONDITION
  mkdir -p "$2"
  [ -e "$2/audio" ] || ln -s "$1/audio" "$2/audio"
  awk -F'\t' "NR == 1 || \$5 != \"train\" || ($3)" "$1/manifest.tsv" > "$2/manifest.tsv"
}

for name in "$@"; do
  case $name in
    digits) # one training speaker; ten words read by all voices of espeak-ng; dev nicolas and theo, test yweweler
      mkdir -p "$OUT/digits-jackson"
      [ -e "$OUT/digits-jackson/audio" ] || ln -s "$CORPORA/digits_fsdd/audio" "$OUT/digits-jackson/audio"
      awk -F'\t' -v OFS='\t' '$3 == "nicolas" { $5 = "dev" } { print }' "$CORPORA/digits_fsdd/manifest.tsv" \
        > "$OUT/digits-jackson/manifest.tsv"
      printf '%s\n' zero one two three four five six seven eight nine > "$OUT/number_words.txt"
      orature run back_translate "$OUT/digits-jackson" --to "$OUT/digits" "${COMMON[@]}" \
        --set text="$OUT/number_words.txt" --set voice=espeak --set language=en --set size=micro \
        --set updates="$DIGIT_UPDATES" --set evaluate_every=250 --set last_share=0 --set filter=none \
        --set readings=2000 --set ratios=5 --set "speech.rate=[0.75,1.35]" --set "speech.pitch=[-4,4]"
      ;;
    yoruba) # read sentences of one speaker; news as text; the threshold of Norm_I calibrated
      orature run back_translate "$CORPORA/yoruba_ogunlao" --to "$OUT/yoruba" "${COMMON[@]}" \
        --set text="$CORPORA/yoruba_ogunlao/text_iroyin.txt" --set voice=espeak \
        --set updates="$UPDATES" --set calibrate=true --set go_on=true \
        --set calibration.updates="$CALIBRATION_UPDATES"
      ;;
    kichwa) # radio drama: two chapters are real speech (23 minutes), of the other seven only the sentences are used
      only_train "$CORPORA/kichwa_killkan" "$OUT/kichwa-2ch" '$3 == "cast-ch01" || $3 == "cast-ch02"'
      awk -F'\t' 'NR > 1 && $5 == "train" && $3 != "cast-ch01" && $3 != "cast-ch02" { print $2 }' \
        "$CORPORA/kichwa_killkan/manifest.tsv" > "$OUT/kichwa_more.txt"
      orature run back_translate "$OUT/kichwa-2ch" --to "$OUT/kichwa" "${COMMON[@]}" \
        --set "text=[$CORPORA/kichwa_killkan/text_only.tsv,$OUT/kichwa_more.txt]" --set voice=espeak \
        --set readings=4 --set updates="$UPDATES" --set batch_seconds=60 --set "ratios=[1,2,5,10,20]" \
        --set go_on=true --set calibrate=true --set calibration.updates="$CALIBRATION_UPDATES" \
        --set calibration.batch_seconds=60 --set calibration.evaluate_every=100 --set calibration.seeds=1 \
        --set "calibration.ladder=[clean,bands:8,bands:6,bands:5,bands:2+shuffle:250]"
      ;;
    *)
      echo "unknown: $name (digits, yoruba, kichwa)" >&2
      exit 2
      ;;
  esac
done
