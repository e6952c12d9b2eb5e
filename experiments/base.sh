#!/usr/bin/env bash
# Orature Base: its training, what it brings to real speech, and how that grows with hours and languages.
#
#   experiments/base.sh CORPORA OUT [STEP...]        steps: base real transfer languages hours digits prior features
#
# CORPORA holds text_udhr, multilingual_clips and the five corpora below; OUT receives models and figures. On two cores:
# base takes two hours, real half an hour, transfer three hours, the curves two hours. Every step goes on where it was.
set -euo pipefail
CORPORA=${1:?folder of the corpora}
OUT=${2:?folder for the results}
STEPS=${*:3}
STEPS=${STEPS:-base real transfer languages hours digits prior features}
export OMP_NUM_THREADS=1
mkdir -p "$OUT"
FIVE=(digits_fsdd speech_commands cherokee_walc1 kichwa_killkan yoruba_ogunlao)
for name in multilingual_clips "${FIVE[@]}"; do
  said=()
  [ "$name" = kichwa_killkan ] && said=(--licence "Killkan (Taguchi et al., Radialistas): CC BY 4.0")
  [ "$name" = speech_commands ] && said=(--licence "Speech Commands (Warden, Google): CC BY 4.0")
  [ -d "$OUT/$name" ] || orature ingest "$CORPORA/$name" --to "$OUT/$name" "${said[@]}"
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
  --set "real=[$OUT/kichwa_killkan,$OUT/speech_commands]" --set neighbours=true --set 'train.mix={"origin_weights":{"real":8}}' \
  --set train.updates=600 --set train.peak_lr=5e-4

# 3. From it and from nothing at equal compute. Corpora that step 2 heard are measured from the base before it. From nothing
# sentences are learned sooner with half of the usual rate (Kichwa, dev), as this shape is larger and the batch smaller.
EQUAL=(--threads 1 --set train.batch_seconds=40 --set train.accumulate=1 --set train.precision=bf16)
if step transfer; then
  orature run transfer "$OUT/digits_fsdd" "$OUT/speech_commands" --to "$OUT/transfer-words" "${EQUAL[@]}" \
    --set start="$OUT/base/model" --set minutes=[0,5] --set updates=[200,200]
  orature run transfer "$OUT/kichwa_killkan" --to "$OUT/transfer-kichwa" "${EQUAL[@]}" --set nothing.peak_lr=1e-3 \
    --set start="$OUT/base/model" --set minutes=[5,30,0] --set updates=[200,400,800]
  orature run transfer "$OUT/yoruba_ogunlao" --to "$OUT/transfer-yoruba" "${EQUAL[@]}" --set nothing.peak_lr=1e-3 \
    --set start="$OUT/base-real/model" --set minutes=[5,30,0] --set updates=[200,400,800]
  orature run transfer "$OUT/cherokee_walc1" --to "$OUT/transfer-cherokee" "${EQUAL[@]}" --set nothing.peak_lr=1e-3 \
    --set start="$OUT/base-real/model" --set minutes=[5,0] --set updates=[200,400]
fi

# 4. Curves with the size tiny and batches of 25 s: languages at 8 h of synthetic speech each, hours of three languages,
# hours of all. Error on dev, since it is asked so often.
SHORT=("$OUT/digits_fsdd" "$OUT/cherokee_walc1" --threads 1 --set minutes=[5] --set updates=[100] --set split=dev
  --set from_start.evaluate_every=25 --set nothing.evaluate_every=25 --set train.batch_seconds=40
  --set train.accumulate=1 --set train.precision=bf16)
first() { head -n "$1" experiments/base_languages.txt | paste -sd,; }
for point in languages:3 languages:10 languages:30 three:2 three:4 three:16 hours:8 hours:12; do
  kind=${point%:*} value=${point#*:} hours=${point#*:}
  step "$([ "$kind" = three ] && echo hours || echo "$kind")" || continue
  extra=(--set train.size=tiny --set train.batch_seconds=25 --set dev_sentences=100 --set train.stop_on_blanks=false)
  [ "$kind" = languages ] && hours=8 && extra+=(--set "text.languages=[$(first "$value")]")
  [ "$kind" = three ] && extra+=(--set "text.languages=[$(first 3)]")
  [[ $kind = three || $point = languages:3 ]] && extra+=(--set text.per_language=2000)
  extra+=(--set train.updates="$((hours * 144))")
  orature run base "${COMMON[@]}" --to "$OUT/$kind-$value" "${extra[@]}"
  orature run transfer "${SHORT[@]}" --to "$OUT/transfer-$kind-$value" --set arms=[start] \
    --set start="$OUT/$kind-$value/model"
done
step hours && orature run transfer "${SHORT[@]}" --to "$OUT/transfer-all" --set arms=[start] --set start="$OUT/base/model"

# 5. What reads phones on the clips: the base, and a model that has heard English digits alone (its text is not spoken).
step digits && orature run base "${COMMON[@]}" --to "$OUT/phones-digits" --set text.languages=[en] \
  --set text.per_language=40 --set "real=[$OUT/digits_fsdd]" --set 'train.mix={"origin_weights":{"real":1e6}}' \
  --set train.updates=300 --set train.batch_seconds=40 --set dev_sentences=20

# 6. Letters that begin as phones against letters drawn at random, on dev.
for prior in auto none; do
  step prior && orature run transfer "$OUT/digits_fsdd" "$OUT/kichwa_killkan" --to "$OUT/prior-$prior" "${EQUAL[@]}" \
    --set start="$OUT/base/model" --set minutes=[5] --set updates=[200] --set split=dev --set arms=[start] \
    --set from_start.prior=$prior
done

# 7. A loss of articulatory features beside phones: as languages:3 of step 4, which has none.
if step features; then
  orature run base "${COMMON[@]}" --to "$OUT/features" --set train.size=tiny --set train.batch_seconds=25 \
    --set dev_sentences=100 --set train.stop_on_blanks=false --set "text.languages=[$(first 3)]" \
    --set text.per_language=2000 --set train.updates=1152 --set feature_weight=0.3
  orature run transfer "${SHORT[@]}" --to "$OUT/transfer-features" --set arms=[start] --set start="$OUT/features/model"
fi
true
