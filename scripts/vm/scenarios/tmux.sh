# tmux belongs to the session in which it was started, and outlives its log-out; the keys do not.
# seconds: 480

# in_tmux COMMANDS: typed into the window of tmux; what they print.
in_tmux() {
  rm -f /home/alice/out /home/alice/done
  runuser -u alice -- tmux -S /home/alice/tmux send-keys -t work "{ $1; } > ~/out 2>&1; echo \$? > ~/done" Enter
  until_true 60 test -s /home/alice/done > /dev/null
  cat /home/alice/out
  return "$(cat /home/alice/done)"
}
open_session one || exit
in_session one 'tmux -S ~/tmux new-session -d -s work -c ~/app'
in_session one "$UNLOCK"
equal 'a session unlocks' 0 $?
equal 'tmux of that session reads' "$(secret)" "$(in_tmux "$GET")"
pid=$(daemons)
close_session one
ends 'the log-out ends the daemon although tmux lives on' "$pid" 30
check 'tmux lives on' pgrep -u alice -x 'tmux: server'
in_tmux "$GET" > /dev/null
equal 'tmux finds the key locked' 2 $?

out=$(in_tmux "$UNLOCK")
equal 'tmux may unlock again' 0 $?
echo "$out"
sleep 20
equal 'and reads on after 20 s' "$(secret)" "$(in_tmux "$GET")"
pid=$(daemons)
runuser -u alice -- tmux -S /home/alice/tmux kill-server
ends 'the end of tmux ends that daemon' "$pid" 45
