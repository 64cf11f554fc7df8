# Time in suspend counts: a key that expires meanwhile is locked at the first request.
# machine: memory=640
# seconds: 300

open_session one || exit
in_session one 'keyrack unlock --env test --duration 40s' > /dev/null
equal 'a session unlocks for 40 seconds' 0 $?
before=$(date +%s)
check 'the machine sleeps for 60 s, and wakes' rtcwake -m mem -s 60
between 'it slept' 50 150 $(($(date +%s) - before))
out=$(in_session one "$GET")
equal 'the first request finds the key locked' 2 $?
lacks 'and gets nothing' "$(secret)" "$out"

in_session one 'keyrack unlock --env test --duration 10m' > /dev/null
left=$(seconds_left one)
rtcwake -m mem -s 60 > /dev/null
equal 'a key with time left is served after a suspend' "$(secret)" "$(in_session one "$GET")"
between 'the suspend was taken from its life' $((left - 160)) $((left - 55)) "$(seconds_left one)"
close_session one
