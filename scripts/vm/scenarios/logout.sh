# Each form of log-out ends the daemon; what only resembles a log-out does not.
# seconds: 480

open_session one || exit
in_session one "$UNLOCK"
equal 'a session unlocks' 0 $?
pid=$(daemons)
loginctl lock-sessions
systemctl restart systemd-logind
sleep 8
equal 'a locked screen and a restarted logind end nothing' "$(secret)" "$(in_session one "$GET")"
close_session one
ends 'the last log-out ends the daemon' "$pid" 30
equal 'the socket is gone' '' "$(socket_of_alice)"

open_session one || exit
in_session one "$UNLOCK"
pid=$(daemons)
loginctl terminate-session "$(in_session one 'echo $XDG_SESSION_ID')"
ends 'loginctl terminate-session ends the daemon' "$pid" 30
close_session one

open_session one || exit
in_session one "$UNLOCK"
pid=$(daemons)
kill -STOP "$pid"
close_session one
sleep 5
kill -CONT "$pid"
ends 'a daemon that was stopped over the log-out ends when it goes on' "$pid" 30

open_session one || exit
in_session one "$GET" > /dev/null
equal 'the next login finds the key locked' 2 $?
in_session one "$UNLOCK"
pid=$(daemons)
in_session one 'nohup sleep 400 > /dev/null 2>&1 &'
close_session one
ends 'the log-out ends the daemon although nohup leaves a process' "$pid" 30
check 'that process lives on' pgrep -u alice -x sleep
