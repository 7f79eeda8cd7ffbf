#!/usr/bin/env bash
# offer.bash SHARE LINE...: what the completion scripts in SHARE offer for each line, as readline would ask them.
share=$1
shift
for program in imagetool varve varvefs; do
  # shellcheck disable=SC1090
  . "$share/bash-completion/completions/$program"
done

# Splits as readline does by its COMP_WORDBREAKS: at blanks, and at ':' and '='.
ask() {
  local rest=$1 word
  COMP_LINE=$1 COMP_POINT=${#1} COMP_WORDS=() COMPREPLY=()
  while [[ $rest =~ ^[[:space:]]*([:=]+|[^[:space:]:=]+)(.*)$ ]]; do
    COMP_WORDS+=("${BASH_REMATCH[1]}")
    rest=${BASH_REMATCH[2]}
  done
  [[ $1 == *' ' ]] && COMP_WORDS+=('')
  COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
  "_${COMP_WORDS[0]}"
}

for line; do
  ask "$line"
  # What readline keeps of the word stands before each of them.
  kept=
  [[ ${COMP_WORDS[COMP_CWORD]} == [:=] ]] && word='' || word=${COMP_WORDS[COMP_CWORD]}
  [[ $line == *[:=]"$word" ]] && kept=${line##* } && kept=${kept%"$word"}
  printf '%s => %s\n' "$line" \
    "$(for word in "${COMPREPLY[@]}"; do printf '%s\n' "$kept${word% }"; done | LC_ALL=C sort | tr '\n' ' ' | sed 's/ $//')"
done
