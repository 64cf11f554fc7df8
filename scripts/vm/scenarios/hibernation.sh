# Time in hibernation counts; secret memory prevents hibernation; an image contains the keys in
# locked memory, as SECURITY.md describes.
# machine: memory=640 swap=1024
# seconds: 420

mkswap -q /dev/vdc && swapon /dev/vdc
[ -w /sys/power/disk ] || { not_run 'hibernation' 'this kernel cannot hibernate'; exit; }
open_session one || exit
in_session one "KEYRACK_MEMORY=secret $UNLOCK" > /dev/null
if [ "$(member memory "$(in_session one 'keyrack status --json')")" = secret ]; then
  has 'secret memory forbids hibernation' '\[disabled\]' "$(cat /sys/power/disk)"
  has 'doctor warns of it' 'hibernat' "$(in_session one 'keyrack doctor')"
else
  not_run 'secret memory forbids hibernation' 'this kernel has none'
fi
in_session one 'keyrack daemon stop' > /dev/null

# A second key, which this script never sees before the machine is back.
in_session one 'head -c 24 /dev/urandom | base64 | tr "+/" "ab" | keyrack set --key IMAGE_KEY --env test --vault os.secure --mech PERMANENT_VIA_REPLICA' > /dev/null
in_session one 'keyrack unlock --env test --duration 5m' > /dev/null
equal 'a session unlocks for 5 minutes' 0 $?
equal 'with swap to hibernate to, memory is locked' locked "$(member memory "$(in_session one 'keyrack status --json')")"
doctor=$(in_session one 'keyrack doctor')
has 'doctor names hibernation' 'hibernat' "$doctor"
grep -i hibernat <<< "$doctor"
left=$(seconds_left one)
before=$(date +%s)
say 'host boot again'
echo shutdown > /sys/power/disk
echo disk > /sys/power/state
equal 'the machine is back after a hibernation' 0 $?
hwclock --hctosys
between 'it was off' 1 400 $(($(date +%s) - before))
equal 'the key is served' "$(secret)" "$(in_session one "$GET")"
passed=$(($(date +%s) - before))
between 'the time off was taken from its life' 0 $((left - passed + 8)) "$(seconds_left one)"

swapoff /dev/vdc
image_key=$(in_session one 'keyrack get --key IMAGE_KEY --env test --value')
if grep -aFq -- "$image_key" /dev/vdc; then fact image_of_hibernation 'has the key'; else fact image_of_hibernation 'lacks the key'; fi
close_session one
