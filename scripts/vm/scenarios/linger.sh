# The user's service manager has its own session; with lingering, it outlives every log-out, as
# doctor reports.
# seconds: 600

# as_unit NAME COMMANDS: runs them in a unit of the user's manager that stays for a while.
as_unit() { in_session one "rm -f ~/$1.out ~/$1.done; systemd-run --user --quiet --collect --unit=$1 bash -c 'cd ~/app; { $2; } > ~/$1.out 2>&1; echo \$? > ~/$1.done; sleep 600'"; until_true 60 test -s "/home/alice/$1.done" > /dev/null; cat "/home/alice/$1.out"; }

open_session one || exit
in_session one "$UNLOCK"
equal 'a session unlocks' 0 $?
own=$(daemons)
out=$(as_unit ask "$GET")
lacks 'a unit of the manager does not get it: a session of its own' "$(secret)" "$out"
out=$(as_unit keep "$UNLOCK; $GET; keyrack doctor")
has 'a unit unlocks for itself' "$(secret)" "$out"
has 'doctor says that it is the session of the manager' 'user@|systemd --user|manager' "$out"
manager=$(daemons | grep -vx "$own")
close_session one
ends 'the log-out ends the daemon of the session' "$own" 30
ends 'and the end of the manager, after it, that of the unit' "$manager" 60

loginctl enable-linger alice
open_session one || exit
in_session one "$UNLOCK"
own=$(daemons)
has 'doctor warns of linger' '[Ll]inger' "$(in_session one 'keyrack doctor')"
as_unit keep "$UNLOCK" > /dev/null
manager=$(daemons | grep -vx "$own")
close_session one
ends 'with linger the log-out ends the daemon of the session' "$own" 30
sleep 15
check 'with linger the daemon of the unit stays' kill -0 "$manager"
open_session one || exit
in_session one "$GET" > /dev/null
equal 'a later login finds its own session locked' 2 $?
has 'and reads what the manager has by the user bus' "$(secret)" "$(as_unit ask "$GET")"
in_session one 'systemctl --user stop keep.service'
ends 'the end of the unit ends its daemon' "$manager" 30
close_session one
loginctl disable-linger alice
