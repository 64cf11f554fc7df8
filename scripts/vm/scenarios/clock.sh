# Setting the clock can shorten the TTL of a key, but never extend it.
# machine: memory=640
# seconds: 240

open_session one || exit
in_session one 'keyrack unlock --env test --duration 10m'
equal 'a session unlocks for 10 minutes' 0 $?
between 'ten minutes are left' 500 600 "$(seconds_left one)"
date -s '1 year ago' > /dev/null
between 'a clock a year back lengthens nothing' 440 600 "$(seconds_left one)"
equal 'and the key is served' "$(secret)" "$(in_session one "$GET")"
date -s '1 year' > /dev/null
between 'a clock that is put right again changes nothing' 380 600 "$(seconds_left one)"
date -s '2 days' > /dev/null
in_session one "$GET" > /dev/null
equal 'a clock two days ahead ends the key' 2 $?
date -s '2 days ago' > /dev/null
in_session one "$GET" > /dev/null
equal 'and putting it right does not revive it' 2 $?
hwclock --hctosys
close_session one
