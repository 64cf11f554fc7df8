# A login on the console is a session with a seat, and its log-out ends the daemon.
# seconds: 180

job="cd ~/app; { $UNLOCK; $GET; echo; keyrack doctor; loginctl session-status \$XDG_SESSION_ID; } > ~/console.out 2>&1; echo \$? > ~/console.done; sleep 600"
systemd-run --quiet --unit=console -p User=alice -p PAMName=login -p TTYPath=/dev/tty5 -p StandardInput=tty -p StandardOutput=tty -p UtmpIdentifier=tty5 \
  bash -lc "$job"
until_true 90 test -s /home/alice/console.done > /dev/null
out=$(cat /home/alice/console.out)
pid=$(daemons)
has 'a login on the console unlocks and reads' "$(secret)" "$out"
has 'logind has it as a session of seat0' 'seat0' "$out"
out=$(su - alice -c "cd ~/app && $GET" 2>&1)
lacks 'a service of the same user gets nothing' "$(secret)" "$out"
systemctl stop console.service
ends 'the log-out ends the daemon' "$pid" 30
