# A machine that its host pauses does not notice the lost time until its clock is set.
# machine: memory=640
# seconds: 300

open_session one || exit
in_session one 'keyrack unlock --env test --duration 90s'
equal 'a session unlocks for 90 seconds' 0 $?
# The clock of the board goes on while the machine stands still.
behind() { [ $(($(cat /sys/class/rtc/rtc0/since_epoch) - $(date +%s))) -ge 80 ]; }
say 'host pause 100'
if ! until_true 60 behind > /dev/null; then say 'FAILED the host pauses the machine: the clock of the board did not move ahead'; exit; fi
out=$(in_session one "$GET")
[ "$out" = "$(secret)" ] && fact served_after_pause yes || fact served_after_pause no
hwclock --hctosys
out=$(in_session one "$GET")
equal 'the key is locked when the clock is set' 2 $?
lacks 'and not served' "$(secret)" "$out"
close_session one
