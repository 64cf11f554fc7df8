# Each job of cron or at has its own session, and its keys end with it.
# seconds: 480

job() { echo "cd ~/app; { cat /proc/self/sessionid; echo; $UNLOCK; $GET; echo; keyrack daemon status --json; } > ~/$1.out 2>&1; echo \$? > ~/$1.done; sleep 5"; }
# verify NAME: waits for the job.
verify() {
  until_true 100 test -s "/home/alice/$1.done" > /dev/null || { say "FAILED a job of $1 runs: not within 100 s"; return; }
  out=$(cat "/home/alice/$1.out")
  pid=$(daemons | head -n 1)
  has "a job of $1 unlocks and reads" "$(secret)" "$out"
  has "its boundary is that of a session" "$(linux 6.5 && echo '"session"' || echo '"user"')" "$out"
  [ "$(head -n 1 "/home/alice/$1.out")" != 4294967295 ]
  equal "a job of $1 has a session number" 0 $?
  ends "the end of the job ends its daemon" "$pid" 45
  echo "$out"
}
job at > /home/alice/at.sh
runuser -l alice -c 'at -q a now < ~/at.sh'
verify at
job cron > /home/alice/cron.sh
echo '* * * * * bash -l ~/cron.sh; crontab -r' | runuser -u alice -- crontab -
verify cron
