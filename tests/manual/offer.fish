# offer.fish SHARE LINE...: what the completion scripts in SHARE offer for each line.
for program in imagetool varve varvefs
    source $argv[1]/fish/vendor_completions.d/$program.fish
end
for line in $argv[2..-1]
    set -l words (complete -C "$line" | string replace --regex '\t.*' '' | LC_ALL=C sort)
    echo "$line => $words"
end
