# The daemon starts on this kernel, and status and doctor report it correctly.
# seconds: 360

open_session one || exit
out=$(in_session one "$UNLOCK")
equal 'unlock starts a daemon' 0 $?
equal 'get returns the key' "$(secret)" "$(in_session one "$GET")"
pid=$(daemons | head -n 1)
status=$(in_session one 'keyrack status --json')
doctor=$(in_session one 'keyrack doctor')
doctor_exit=$?
echo "$out"; echo "$status"; echo "$doctor"

linux 6.5 && expected=session || expected=user
boundary=$(member boundary "$status")
memory=$(member memory "$status")
fact boundary "$boundary"
fact memory "$memory"
equal 'the boundary is what this kernel allows' "$expected" "$boundary"
equal 'doctor finds nothing that does not work' 0 "$doctor_exit"

# memfd_secret is there from Linux 5.14, and on by default from 6.5.
maps=$(cat "/proc/$pid/maps")
case $memory in
  secret) has 'the keys lie in secret pages, by the kernel' secretmem "$maps" ;;
  locked) check 'the keys lie in locked pages, by the kernel' awk '/^VmLck:/ { exit !($2 > 0) }' "/proc/$pid/status" ;;
  *) say "FAILED the keys lie in memory that is never swapped: memory is \"$memory\"" ;;
esac
linux 6.5 && expected=secret || expected=locked
equal 'the memory is the best that this kernel has' "$expected" "$memory"
has 'doctor names the same memory' "$memory" "$doctor"

# Each measure of hardening as `status` tells it, and some of them by the kernel.
measures=$(tr -d '\n' <<< "$status" | grep -Eo '\{[^{}]*"on": *(true|false)[^{}]*\}')
while read -r measure; do
  [ "$(member on "$measure")" = true ] && state=on || state=off
  fact "$(member name "$measure")" "$state"
  case $(member name "$measure") in landlock) landlock=$state ;; deny_write_exec) deny_write_exec=$state ;; esac
done <<< "$measures"
equal 'the seccomp filter is on, by the kernel' 2 "$(awk '/^Seccomp:/ { print $2 }' "/proc/$pid/status")"
equal 'no new privileges, by the kernel' 1 "$(awk '/^NoNewPrivs:/ { print $2 }' "/proc/$pid/status")"
grep -q landlock /sys/kernel/security/lsm 2> /dev/null && expected=on || expected=off
equal 'landlock is on where the kernel has it' "$expected" "$landlock"
linux 6.3 && expected=on || expected=off
equal 'no page is both writable and executable from Linux 6.3' "$expected" "$deny_write_exec"

# Demands.
out=$(in_session one "KEYRACK_REQUIRE_SESSION=1 $GET")
got=$?
if linux 6.5; then
  equal 'a demand for a session is met' "$(secret)" "$out"
else
  lacks 'a demand for a session is not met before Linux 6.5' "$(secret)" "$out"
  has 'and the reason is the kernel' '6\.5|[Kk]ernel' "$out"
fi
in_session one 'keyrack daemon stop' > /dev/null
out=$(in_session one "KEYRACK_MEMORY=locked $UNLOCK")
equal 'KEYRACK_MEMORY=locked starts' 0 $?
echo "$out"
in_session one 'keyrack daemon stop' > /dev/null
out=$(in_session one "KEYRACK_MEMORY=secret $UNLOCK")
got=$?
echo "$out"
if linux 6.5; then
  equal 'KEYRACK_MEMORY=secret starts' 0 $got
else
  equal 'KEYRACK_MEMORY=secret does not start without secret memory' yes "$([ $got != 0 ] && echo yes)"
  has 'and the reason is named' 'secret' "$out"
fi
close_session one
