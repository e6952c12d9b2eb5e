#!/usr/bin/env bash
# How well does a translator do that is trained on a few thousand sentence pairs, and how far is a dictionary from it?
#
#   experiments/translators.sh CORPORA OUT [kichwa] [bambara] [back]
#
# CORPORA holds kichwa_killkan and text_bambara_french (CONTRIBUTING.md); OUT receives a folder a translator, with score,
# report and translations of test, and the store, so that the same command goes on after a stop. The splits are those of
# the corpora; dev chooses the weights, test is translated once. UPDATES and BAMBARA_UPDATES bound a training to about
# ten minutes on one core; FULL=1 takes the settings of scale full instead.
set -euo pipefail
CORPORA=${1:?folder of the corpora}
OUT=${2:?folder for the results}
shift 2
[ $# -gt 0 ] || set -- kichwa bambara
UPDATES=${UPDATES:-1500}
BAMBARA_UPDATES=${BAMBARA_UPDATES:-1500}
mkdir -p "$OUT"
CORPORA=$(cd "$CORPORA" && pwd)
OUT=$(cd "$OUT" && pwd)
export OMP_NUM_THREADS=1 ORATURE_STORE="$OUT/store"
COMMON=(--threads 1 --device cpu --store "$ORATURE_STORE" --licence "CC BY 4.0")
if [ -n "${FULL:-}" ]; then SCALE=(--scale full); else SCALE=(--scale dev --size tiny); fi

trained() { # NAME UPDATES PAIRS... -- LANGUAGES AND OTHER OPTIONS
  name=$1 updates=$2
  shift 2
  limit=(--set "train.updates=$updates" --set "train.evaluate_every=$((updates / 10))" --set train.batch_tokens=1000)
  [ -z "${FULL:-}" ] || limit=()
  orature train-translator "$@" --to "$OUT/$name" --kind transformer "${SCALE[@]}" "${COMMON[@]}" "${limit[@]}"
  orature train-translator "$@" --to "$OUT/$name-dictionary" --kind dictionary "${COMMON[@]}"
}

for name in "$@"; do
  case $name in
    kichwa) # Spanish into Kichwa: 1,843 pairs of a radio drama; dev and test of the speech corpus are embargoed too
      [ -d "$OUT/kichwa" ] || orature ingest "$CORPORA/kichwa_killkan" --to "$OUT/kichwa" --store "$ORATURE_STORE"
      trained es-qu "$UPDATES" "$CORPORA/kichwa_killkan/translations.tsv" --from es --to-lang qu \
        --embargo "$OUT/kichwa"
      ;;
    bambara) # French into Bambara: 24,873 pairs of narrated speech
      trained fr-bm "$BAMBARA_UPDATES" "$CORPORA/text_bambara_french" --from fr --to-lang bm
      ;;
    back) # the other directions, for round trips
      trained qu-es "$UPDATES" "$CORPORA/kichwa_killkan/translations.tsv" --from qu --to-lang es
      trained bm-fr "$BAMBARA_UPDATES" "$CORPORA/text_bambara_french" --from bm --to-lang fr
      ;;
    *) echo "there is no $name: kichwa, bambara or back" >&2; exit 2 ;;
  esac
done
