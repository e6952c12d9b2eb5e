#!/usr/bin/env bash
# What does a recogniser from nothing reach on real speech, with the defaults of `orature up`?
# usage: experiments/first_baselines.sh [OUT]    (ORATURE_CORPORA: folder of the corpora, see CONTRIBUTING.md)
set -euo pipefail
corpora=${ORATURE_CORPORA:-../shared/corpora}
out=${1:-baselines}

orature up "$corpora/digits_fsdd" --to "$out/digits" --scale dev --threads 1
orature up "$corpora/speech_commands" --to "$out/commands" --scale dev --threads 1
orature up "$corpora/kichwa_killkan" --to "$out/kichwa" --scale dev --threads 1 --set updates=3000 --set evaluate_every=150
