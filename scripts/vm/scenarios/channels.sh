# Two channels of one ssh connection are one login session.
# seconds: 180

ssh -M -S "$STATE/master" -N alice@localhost &
master=$!
until_true 60 test -S "$STATE/master" > /dev/null
open_session one alice -S "$STATE/master" || exit
open_session two alice -S "$STATE/master" || exit
in_session one "$UNLOCK"
equal 'one channel unlocks' 0 $?
equal 'both have one session number' "$(in_session one 'cat /proc/self/sessionid')" "$(in_session two 'cat /proc/self/sessionid')"
equal 'the other channel reads' "$(secret)" "$(in_session two "$GET")"
pid=$(daemons)
close_session one
equal 'the other channel reads when the first is closed' "$(secret)" "$(in_session two "$GET")"
close_session two
kill "$master"
ends 'the end of the connection ends the daemon' "$pid" 30
