# A process in a nested user or pid namespace of the session is in a sandbox, and gets nothing.
# seconds: 480

open_session one || exit
in_session one "$UNLOCK" > /dev/null
equal 'a session unlocks' 0 $?
socket=$(socket_of_alice)
declare -f raw_get > /home/alice/raw_get.sh
echo "raw_get $socket $ORG.test.API_KEY" >> /home/alice/raw_get.sh
for flags in '--user' '--user --map-current-user' '--user --map-root-user' '--user --map-root-user --pid --fork --mount-proc' '--user --map-root-user --pid --fork'; do
  out=$(in_session one "unshare $flags $GET")
  lacks "unshare $flags: keyrack gets nothing" "$(secret)" "$out"
  has "unshare $flags: and says that it is in a sandbox" sandbox "$out"
  out=$(in_session one "unshare $flags bash ~/raw_get.sh")
  lacks "unshare $flags: nothing on the socket itself" "$(secret)" "$out"
  has "unshare $flags: but one refusal" '"success":false' "$out"
done
out=$(in_session one "sudo unshare --pid --fork setpriv --reuid alice --regid alice --clear-groups env HOME=/home/alice bash ~/raw_get.sh")
lacks 'a pid namespace alone: nothing on the socket itself' "$(secret)" "$out"
has 'a pid namespace alone: but one refusal' '"success":false' "$out"
out=$(in_session one "sudo unshare --mount setpriv --reuid alice --regid alice --clear-groups env HOME=/home/alice $GET")
[ "$out" = "$(secret)" ] && fact mount_namespace_alone served || fact mount_namespace_alone refused
equal 'the session itself is served' "$(secret)" "$(in_session one "$GET")"
close_session one
