# A login over ssh is one session: it can read what it unlocked; no other session, user or root
# can.
# seconds: 300

open_session one || exit
in_session one "$UNLOCK"
equal 'a session unlocks' 0 $?
pid=$(daemons)
socket=$(socket_of_alice)
equal 'and reads' "$(secret)" "$(in_session one "$GET")"
number=$(in_session one 'cat /proc/self/sessionid')
has 'doctor names the login session' "session $number" "$(in_session one 'keyrack doctor')"

open_session two || exit
out=$(in_session two "$GET")
equal 'another session of the same user is told that the key is locked' 2 $?
lacks 'and gets nothing' "$(secret)" "$out"
has 'and is told of the first' "session $number" "$(in_session two "keyrack get --key API_KEY --env test")"
raw=$(in_session two "$(declare -f raw_get); raw_get $socket acme.test.API_KEY")
lacks 'it gets nothing on the socket itself' "$(secret)" "$raw"
has 'but one refusal' 'session mismatch' "$raw"
equal 'the first session reads on' "$(secret)" "$(in_session one "$GET")"

raw=$(in_session one "sudo bash -c '$(declare -f raw_get | sed "s/'/'\\\\''/g"); raw_get $socket acme.test.API_KEY'")
lacks 'root inside the session gets nothing on the socket' "$(secret)" "$raw"
has 'but one refusal' '"success":false' "$raw"
raw=$(raw_get "$socket")
lacks 'root outside it gets nothing' "$(secret)" "$raw"

# Bob reaches the socket only while alice lets him; a daemon whose directory was changed may end, so
# this comes last.
chmod 711 /run/user/1000 && chmod 666 "$socket"
raw=$(runuser -u bob -- bash -c "$(declare -f raw_get); raw_get $socket acme.test.API_KEY" 2>&1)
lacks 'another user gets nothing, the socket open to all' "$(secret)" "$raw"
has 'but one refusal' '"success":false' "$raw"
chmod 600 "$socket" && chmod 700 /run/user/1000

close_session one
ends 'the log-out ends the daemon while another session of the user stays' "$pid" 30
in_session two "$GET" > /dev/null
equal 'the other session has nothing still' 2 $?
close_session two
