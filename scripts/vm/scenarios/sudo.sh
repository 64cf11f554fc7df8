# su and sudo inside a session stay in it; from a service, they have no session.
# seconds: 360

open_session one || exit
in_session one "$UNLOCK"
equal 'a session unlocks' 0 $?
number=$(in_session one 'cat /proc/self/sessionid')
equal 'sudo -u alice reads' "$(secret)" "$(in_session one "sudo -u alice $GET")"
equal 'sudo -i -u alice reads' "$(secret)" "$(in_session one "sudo -i -u alice sh -c 'cd ~/app && $GET'")"
equal 'su - alice reads' "$(secret)" "$(in_session one "sudo su - alice -c 'cd ~/app && $GET'")"
out=$(in_session one "sudo env HOME=/home/alice $GET")
lacks 'root by sudo, with the HOME of alice, gets nothing' "$(secret)" "$out"
echo "$out"
out=$(in_session one "sudo -u bob env HOME=/home/alice $GET")
lacks 'another user by sudo gets nothing' "$(secret)" "$out"
echo "$out"

# This script is a service of the system: no login session.
out=$(su - alice -c "cd ~/app && keyrack get --key API_KEY --env test" 2>&1)
equal 'su - alice from a service is told that the key is locked' 2 $?
lacks 'and gets nothing' "$(secret)" "$out"
has 'and is told of the session' "$number" "$out"
echo "$out"
close_session one
