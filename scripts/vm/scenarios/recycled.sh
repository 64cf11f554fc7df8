# A process number that was recycled into the session does not authorize a socket that another
# process opened.
# needs: linux 6.5
# seconds: 360

open_session one || exit
in_session one "$UNLOCK" > /dev/null
equal 'a session unlocks' 0 $?
pid=$(daemons)
socket=$(socket_of_alice)
open_session two || exit

# In session two a process opens the socket, hands it to its child and dies; the child asks when it
# is told to. It prints the dead one's number.
cat > /home/alice/stranger.pl <<'PERL'
use IO::Socket::UNIX;
my ($path, $go) = @ARGV;
my $opener = fork;
if ($opener == 0) {
  my $socket = IO::Socket::UNIX->new(Peer => $path) or die "cannot connect: $!\n";
  exit 0 if fork;
  select undef, undef, undef, 0.1 until -e $go;
  $SIG{PIPE} = 'IGNORE';
  print $socket '{"command":"GET","payload":{"slugs":["acme.test.API_KEY"]}}';
  $socket->flush;
  alarm 30;
  local $/;
  open my $out, '>', "$go.out"; print $out scalar(<$socket>) // 'nothing'; close $out;
  rename "$go.out", "$go.done";
  exit 0;
}
waitpid $opener, 0;
print "$opener\n";
PERL
kill -STOP "$pid"
number=$(in_session two "perl ~/stranger.pl $socket ~/go")
# The victim: a process of session one that is to get that number. Only builtins of the shell run
# here, so that no other process takes it.
in_session one 'while [ ! -e ~/taken ]; do sleep 0.3 & wait; done > /dev/null 2>&1 &'
taken=no
for _ in $(seq 20000); do
  echo $((number - 1)) > /proc/sys/kernel/ns_last_pid
  if [ -e "/proc/$number/sessionid" ]; then taken=yes; break; fi
done
session=$(cat "/proc/$number/sessionid" 2> /dev/null)
kill -STOP "$number" 2> /dev/null
echo "number $number, taken: $taken, session: $session"
if [ "$session" != "$(in_session one 'cat /proc/self/sessionid')" ]; then
  not_run 'a recycled number' "number $number was not taken by session one"
else
  kill -CONT "$pid"
  runuser -u alice -- touch /home/alice/go
  until_true 40 test -e /home/alice/go.done > /dev/null
  out=$(cat /home/alice/go.done)
  lacks 'the heir of the socket gets nothing' "$(secret)" "$out"
  echo "$out"
fi
kill -CONT "$pid" "$number" 2> /dev/null
touch /home/alice/taken
equal 'the session itself is served' "$(secret)" "$(in_session one "$GET")"
close_session two
close_session one
