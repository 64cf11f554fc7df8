# If the session's cgroup runs out of memory, the process that used it is killed; a killed daemon
# loses its keys and nothing else.
# machine: memory=1024
# seconds: 360

# The shell of a session that takes all memory it can get.
HOG='perl -e "push @a, chr(65 + \$_ % 26) x 10_000_000 while ++\$_ < 60"'
open_session one || exit
in_session one "$UNLOCK" > /dev/null
equal 'a session unlocks' 0 $?
pid=$(daemons)
systemctl set-property --runtime user-1000.slice MemoryMax=200M MemorySwapMax=0
in_session one "$HOG" > /dev/null
equal 'a process that takes all of it is killed' 137 $?
check 'the daemon is not' kill -0 "$pid"
equal 'and serves' "$(secret)" "$(in_session one "$GET")"

echo 1000 > "/proc/$pid/oom_score_adj"
in_session one "$HOG" > /dev/null
ends 'the OOM killer ends the daemon when it is told to' "$pid" 20
out=$(in_session one "$GET")
equal 'then the key is locked' 2 $?
systemctl set-property --runtime user-1000.slice MemoryMax=infinity
in_session one "$UNLOCK" > /dev/null
equal 'unlock replaces the dead socket' 0 $?
equal 'and the key is served' "$(secret)" "$(in_session one "$GET")"
close_session one
