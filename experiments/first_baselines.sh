#!/usr/bin/env bash
# What does a recogniser from nothing reach on real speech, with the defaults of `orature up`?
# usage: experiments/first_baselines.sh [OUT]    (ORATURE_CORPORA: folder of the corpora, see CONTRIBUTING.md)
set -euo pipefail
corpora=${ORATURE_CORPORA:-../shared/corpora}
out=${1:-baselines}

orature up "$corpora/digits_fsdd" --to "$out/digits" --scale dev --threads 1
# rows 3 and 4: strong perturbation (made at commit 94e119e, then the default), and that of ordinary sentences
orature up "$corpora/speech_commands" --to "$out/commands" --scale dev --threads 1 \
  --set dropout=0.2 --set augment.warp=0.2 --set augment.time_masks=2 --set augment.join_probability=0.5 \
  --set "augment.speeds=[0.8,0.9,1.0,1.1,1.2]"
orature up "$corpora/speech_commands" --to "$out/commands_mild" --scale dev --threads 1 --set updates=1000
orature up "$corpora/kichwa_killkan" --to "$out/kichwa" --scale dev --threads 1 --set updates=3000 --set evaluate_every=150
