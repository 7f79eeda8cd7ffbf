# The part that does not depend on the program. $varve_program is the word that was typed for it, $varve_store what an option
# before the command has said.

# Runs one of our programs: the one beside that which is being completed, else that of $PATH.
_varve_ask() {
  local beside=${(Q)varve_program} program=$1
  shift
  if [[ $beside == */* ]]; then beside=${beside:h}/$program; else beside=$program; fi
  local store=${${words[(R)--store=*]}#--store=}
  local -i at=${words[(I)--store]}
  ((at)) && store=$words[at+1]
  store=${(Q)${store:-$varve_store}}
  $beside "$@" ${store:+--store} ${store:+$store} 2>/dev/null </dev/null
}

# Each argument is a kind of values: word.WORD, begin.BEGINNING, images, files, ...
_varve_values() {
  local kind ret=1
  local -a whole begun names
  for kind; do
    names=()
    case $kind in
      word.*) whole+=("${kind#word.}") ;;
      begin.*) begun+=("${kind#begin.}") ;;
      images) names=(${(f)"$(_varve_ask imagetool images --names)"}) ;;
      containers) names=(${(f)"$(_varve_ask varve ps -aq)"}) ;;
      running) names=(${(f)"$(_varve_ask varve ps -q)"}) ;;
      joined)
        names=(${(f)"$(_varve_ask varve ps -q)"})
        names=(container:${^names})
        ;;
      files) _files && ret=0 ;;
      directories) _files -/ && ret=0 ;;
      variables) _parameters -g '*export*' && ret=0 ;;
      mount_options) _varve_mount_options && ret=0 ;;
    esac
    (($#names)) && compadd -- "$names[@]" && ret=0
  done
  (($#whole)) && compadd -- "$whole[@]" && ret=0
  (($#begun)) && compadd -S '' -- "$begun[@]" && ret=0
  return ret
}

# A list separated by colons, of which the last one is being typed.
_varve_layers() {
  compset -P '*:'
  _files
}

