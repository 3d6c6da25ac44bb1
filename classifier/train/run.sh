#!/bin/sh
# Trains the default model from nothing: needs Debian's apt (bookworm) and a Python with requirements.txt.
#   WORK=folder for everything that is made (default: results beside this script); PYTHON=python of the environment
# Each step is skipped when its result is there; remove the result to repeat it.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
work=${WORK:-$here/results}
python=${PYTHON:-python3}
data=$here/data
export HF_HUB_OFFLINE=1 PYTHONPATH="$here"
mkdir -p "$work/debs" "$work/apt/lists/partial" "$work/apt/cache/archives/partial"
work=$(cd "$work" && pwd)

if [ ! -e "$work/debs.done" ]; then
	(cd "$work/debs" && while read -r p; do apt-get download -qq "$p" || echo "not there: $p"; done <"$here/packages.txt")
	apt-get update -o Dir::State::Lists="$work/apt/lists" -o Dir::Cache="$work/apt/cache" \
		-o Acquire::Languages="en,de,es,fr,it,ja,ko,nl,pl,pt,pt_BR,ru,tr,vi,zh,zh_CN,hi,ar"
	touch "$work/debs.done"
fi
step() { # result, command...
	result=$1
	shift
	[ -e "$result" ] || "$@"
}
common="--work $work --data $data --vocab $work/vocab"
step "$work/pairs.jsonl" "$python" "$here/corpus.py" --debs "$work/debs" --lists "$work/apt/lists" --out "$work"
step "$work/lexicon.json" "$python" "$here/lexicon.py" --debs "$work/debs" --out "$work"
step "$work/vocab/tokenizer.json" "$python" "$here/vocabulary.py" --work "$work" --data "$data" --out "$work/vocab"
step "$work/student0" "$python" "$here/student.py" --vocab "$work/vocab" --out "$work/student0"
step "$work/student1" "$python" "$here/distill.py" --pairs "$work/pairs.jsonl" --lexicon "$work/lexicon.json" --data "$data" --vocab "$work/vocab" \
	--init "$work/student0" --out "$work/student1" --minutes "${DISTILL_MINUTES:-45}"
step "$work/judged.json" "$python" "$here/judged.py" --work "$work" --data "$data"
step "$work/student2" "$python" "$here/nli.py" $common --init "$work/student1" --out "$work/student2" --minutes "${NLI_MINUTES:-180}"
"$python" "$here/export.py" --model "$work/student2" --vocab "$work/vocab" --out "$work/model" --temperature "${TEMPERATURE:-0.9}" --min-confidence "${MIN_CONFIDENCE:-0.95}"
"$python" "$here/eval.py" "$work/model" --data "$data" --json "$work/eval.json"
