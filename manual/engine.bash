# shellcheck shell=bash
# The part that does not depend on the program. Needs bash 4.3 and nothing of bash-completion(7). The functions __PROGRAM_command,
# above, fill in: commands, flags, valued (names of options), values (by option), words (by place), stops, repeats.

# Splits the line up to the cursor into `line` as the program will get it. Readline has split it at ':' and '=' as well: `piece` is
# the last of its parts.
__varve_split() {
  local rest=${COMP_LINE:0:COMP_POINT} word gap i
  line=()
  for ((i = 0; i <= COMP_CWORD; i++)); do
    word=${COMP_WORDS[i]}
    gap=${rest%%[![:space:]]*}
    rest=${rest#"$gap"}
    ((i == COMP_CWORD)) && word=$rest
    rest=${rest#"$word"}
    if [[ $i -gt 0 && -z $gap && ($word == [:=]* || ${COMP_WORDS[i - 1]} == *[:=]) ]]; then
      line[${#line[@]} - 1]+=$word
    else
      line+=("$word")
    fi
    piece=$word
  done
}

# What a word means once the shell has taken its quotes away. Nothing in it is carried out.
__varve_unquoted() {
  local word=$1
  word=${word//[\"\']/}
  word=${word//\\/}
  [[ $word == \~/* ]] && word=$HOME${word:1}
  printf '%s' "$word"
}

# Runs one of our programs: the one beside that which is being completed, else that of $PATH.
__varve_ask() {
  local program=$1 beside
  shift
  beside=$(__varve_unquoted "${line[0]}")
  case $beside in
    */*) beside=${beside%/*}/$program ;;
    *) beside=$program ;;
  esac
  "$beside" "$@" ${store:+--store "$store"} 2>/dev/null </dev/null
}

# Adds what may stand for $current to `found`: $1 are the kinds of values; those that begin with $2 count.
__varve_values() {
  local kind current=$2 name
  for kind in $1; do
    case $kind in
      word.*) name=${kind#word.} && [[ $name == "$current"* ]] && found+=("$name ") ;;
      begin.*) name=${kind#begin.} && [[ $name == "$current"* ]] && found+=("$name") ;;
      images | containers | running | joined)
        while IFS= read -r name; do
          [[ $kind == joined ]] && name=container:$name
          [[ $name == "$current"* ]] && found+=("$name ")
        done < <(case $kind in
          images) __varve_ask imagetool images --names ;;
          containers) __varve_ask varve ps -aq ;;
          *) __varve_ask varve ps -q ;;
        esac)
        ;;
      variables)
        while IFS= read -r name; do found+=("$name"); done < <(compgen -e -- "$current")
        ;;
      mount_options) __varve_mount_options "$current" ;;
      files | directories) __varve_files "$kind" "$current" ;;
    esac
  done
}

__varve_files() {
  local name action=-f
  [[ $1 == directories ]] && action=-d
  while IFS= read -r name; do
    if [[ -d $(__varve_unquoted "$name") ]]; then
      found+=("$(__varve_shell_word "$name")/")
    else
      found+=("$(__varve_shell_word "$name") ")
    fi
  done < <(compgen "$action" -- "$(__varve_unquoted "$2")")
}

# As it must be typed.
__varve_shell_word() {
  local word
  printf -v word %q "$1"
  printf '%s' "$word"
}

# lowerdir=a:b,upperdir=c: the last field, and of layers the last one.
__varve_mount_options() {
  local -A mount_options=()
  local before='' field=$1 key name
  local -a fields=()
  __varve_mount_option_table
  [[ $field == *,* ]] && before=${field%,*}, && field=${field##*,}
  if [[ $field != *=* ]]; then
    for key in "${!mount_options[@]}"; do
      [[ $key == "$field"* ]] || continue
      found+=("$before$key")
    done
    return
  fi
  key=${field%%=*}=
  before+=$key
  field=${field#"$key"}
  [[ $field == *:* ]] && before+=${field%:*}: && field=${field##*:}
  local -a outer=("${found[@]}")
  found=()
  __varve_values "${mount_options[$key]-}" "$field"
  for name in "${found[@]}"; do fields+=("$before${name% }"); done
  found=("${outer[@]}" "${fields[@]}")
}

# Reads what stands before the cursor: which command it is, where its options come from, and what is expected now.
__varve_read() {
  local i j word store_is_next=
  for ((i = 1; i < ${#line[@]} - 1; i++)); do
    word=${line[i]}
    if [[ -n $expected ]]; then
      [[ -n $store_is_next ]] && store=$(__varve_unquoted "$word")
      expected='' store_is_next=''
    elif [[ -n $ended || $word != -?* ]]; then
      if [[ -z $ended && " $commands " == *" $word "* ]]; then
        path+=${path:+ }$word
        __varve_load
      else
        ((place += 1))
        [[ -n $stops ]] && ended=1
      fi
    elif [[ $word == -- ]]; then
      ended=1
    elif [[ $word == --store=* ]]; then
      store=$(__varve_unquoted "${word#--store=}")
    elif [[ $word == --* ]]; then
      [[ " $valued " == *" $word "* ]] && expected=$word
      [[ $word == --store ]] && store_is_next=1
    else
      for ((j = 1; j < ${#word}; j++)); do
        [[ " $valued " == *" -${word:j:1} "* ]] || continue
        ((j + 1 == ${#word})) && expected=-${word:j:1}
        break
      done
    fi
  done
}

__varve_load() {
  commands='' flags='' valued='' stops='' repeats=''
  values=() words=()
  "__${program}_command" "$path"
}

__varve_offer() {
  local current=${line[${#line[@]} - 1]} name
  if [[ -n $expected ]]; then
    __varve_values "${values[$expected]-}" "$current"
  elif [[ -z $ended && $current == --*=* ]]; then
    name=${current%%=*}
    __varve_values "${values[$name]-}" "${current#*=}"
    found=("${found[@]/#/$name=}")
  elif [[ -z $ended && $current == -* ]]; then
    for name in $flags $valued; do
      [[ $name == "$current"* ]] && found+=("$name ")
    done
  elif [[ -n $commands ]]; then
    for name in $commands; do
      [[ $name == "$current"* ]] && found+=("$name ")
    done
  elif ((place < ${#words[@]})); then
    __varve_values "${words[place]}" "$current"
  elif [[ -n $repeats ]]; then
    __varve_values "${words[${#words[@]} - 1]}" "$current"
  fi
}

__varve_complete() {
  local program=$1 path='' store='' expected='' ended='' place=0 piece=''
  local commands='' flags='' valued='' stops='' repeats=''
  local -A values=()
  local -a words=() line=() found=()
  COMPREPLY=()
  __varve_split
  __varve_load
  __varve_read
  __varve_offer
  # Readline replaces what stands behind the last ':' or '=' alone.
  local current=${line[${#line[@]} - 1]} kept i
  [[ $piece == [:=] ]] && piece=''
  kept=${current%"$piece"}
  for ((i = 0; i < ${#found[@]}; i++)); do COMPREPLY+=("${found[i]#"$kept"}"); done
  compopt -o nospace 2>/dev/null || true # the blanks that are wanted stand behind the words already
}

