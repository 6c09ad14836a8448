# Runs a command again and again until it ends with 0. The command comes on the standard input: what stands among arguments,
# everybody can read. The arguments: the exit codes that mean "not yet", each between spaces, or nothing where all but 0
# do; the wait between two looks, the longest such wait (0: there is none) and the longest time in all, in milliseconds;
# whether each wait is twice the one before; and what it comes to where it fails.
not_yet=$1 wait=$2 longest=$3 timeout=$4 doubles=$5 failed=$6
command=$(command -p cat)
result=$UPDRAFT_RESULT
unset UPDRAFT_RESULT

# Milliseconds since the machine began: nobody sets that clock.
now() {
    local up
    read -r up _ </proc/uptime
    now=$((10#${up/./} * 10))
}

fail() {
    printf '{"end": "%s", "message": "%s"}' "$failed" "$1" >"$result"
    [ "$failed" = skipped ] && exit 0
    exit "$2"
}

seconds() {
    printf '%d.%03d' $(($1 / 1000)) $(($1 % 1000))
}

now
began=$now
while :; do
    "$BASH" /dev/fd/3 3<<<"$command" </dev/null
    code=$?
    [ "$code" = 0 ] && exit 0
    if [ -n "$not_yet" ] && [[ $not_yet != *" $code "* ]]; then
        fail "ended with exit code $code, which does not mean that it is to look again (retry_exit_code)" "$code"
    fi
    now
    left=$((began + timeout - now))
    if [ "$left" -le 0 ]; then
        fail "what it waits for was not there after $(seconds $((now - began))) s (timeout)" 1
    fi
    echo "not there yet: exit code $code"
    [ "$longest" != 0 ] && [ "$wait" -gt "$longest" ] && wait=$longest
    pause=$((wait < left ? wait : left))
    command -p sleep "$(seconds "$pause")"
    [ "$doubles" = true ] && wait=$((wait * 2))
done
