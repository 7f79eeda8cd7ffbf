# offer.zsh SHARE LINE...: what the completion scripts in SHARE offer for each line, typed into an interactive zsh on a terminal of its own.
zmodload zsh/zpty
share=$1
shift
offered=$(mktemp)
trap "rm -f $offered" EXIT
zpty terminal "TERM=dumb zsh -f -i"

# tell COMMAND: carried out in that zsh before this returns.
tell() {
  zpty -w terminal "$1; print -r -- DO''NE"
  zpty -r terminal said $'*DONE*'
}
tell "PROMPT=; fpath=($share/zsh/site-functions \$fpath); autoload -Uz compinit; compinit -u -D; LISTMAX=10000"
tell "compadd() { local -a found; builtin compadd -A found \"\$@\"; print -rl -- \$found >>$offered; builtin compadd \"\$@\" }"
# After each completion, a line that says so.
tell "ask() { zle complete-word; print -r -- '==' >>$offered; zle kill-buffer }; zle -N ask; bindkey '^I' ask"

for line; do
  : >$offered
  zpty -w -n terminal "$line"$'\t'
  for try in {1..100}; do
    [[ $(tail -n 1 $offered) == '==' ]] && break
    zpty -rt terminal said
    sleep 0.05
  done
  words=$(grep -v -x -e '==' -e '' $offered | LC_ALL=C sort -u | tr '\n' ' ' | sed 's/ $//')
  print -r -- "$line => $words"
done
zpty -d terminal
