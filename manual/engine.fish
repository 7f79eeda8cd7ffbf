# PROGRAM stands for the program's name. The functions above say which options of a command take a value, and which commands there are.

# What stands before the cursor: the command, then how many further words there are.
function __PROGRAM_state
    set -l path ''
    set -l place 0
    set -l skip no
    set -l line (commandline -opc)
    set -e line[1]
    for word in $line
        if test $skip = yes
            set skip no
        else if test $place -gt 0; and __PROGRAM_stops "$path"
            set place (math $place + 1)
        else if string match --quiet --regex -- '^--.*=|^--$' $word
            continue
        else if string match --quiet -- '--*' $word
            contains -- $word (__PROGRAM_valued "$path"); and set skip yes
        else if string match --quiet --regex -- '^-.' $word
            contains -- -(string sub --start=-1 -- $word) (__PROGRAM_valued "$path"); and set skip yes
        else if contains -- $word (__PROGRAM_commands "$path")
            set path (string trim "$path $word")
        else
            set place (math $place + 1)
        end
    end
    echo "$path"
    echo $place
end

# Whether the command is $path and, if given, the word at the cursor the one at $place, or a later one if there may be.
function __PROGRAM_at --argument-names path place more
    set -l state (__PROGRAM_state)
    test "$state[1]" = "$path"; or return 1
    test -z "$place"; and return 0
    test $state[2] -eq $place; and return 0
    test -n "$more"; and test $state[2] -gt $place
end

# Runs one of our programs, of the store that the line names: the one beside that which is being completed, else that of $PATH.
function __PROGRAM_ask
    set -l line (commandline -opc)
    set -l beside $argv[1]
    string match --quiet -- '*/*' $line[1]; and set beside (string replace --regex -- '[^/]*$' '' $line[1])$argv[1]
    set -l store
    for i in (seq 2 (count $line))
        string match --quiet -- '--store=*' $line[$i]; and set store --store (string sub --start=9 -- $line[$i])
        test $line[(math $i - 1)] = --store; and set store --store $line[$i]
    end
    command $beside $argv[2..-1] $store 2>/dev/null </dev/null
end

