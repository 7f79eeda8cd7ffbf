# shellcheck shell=bash
# For the test scripts that damage a file. Source it.

# flip_byte FILE AT: the byte at AT is another one afterwards. (A byte that a script chooses is, of random content, there already
# once in 256 times.)
flip_byte() {
  local byte
  byte=$(od --address-radix=n --format=u1 --skip-bytes="$2" --read-bytes=1 "$1")
  # shellcheck disable=SC2059  # the format is the byte
  printf "\\x$(printf '%x' $((byte ^ 255)))" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}
