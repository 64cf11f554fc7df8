# What scenarios are written with. A line that begins with "vm " is a result and goes to the host;
# every other line is only kept in the log.

ORG=acme SOCKET_DIR=/run/user/1000
STATE=/run/vm

# A result begins a line, whatever was printed before it.
say() { printf '\nvm %s\n' "$*"; }
# check WHAT COMMAND...: passes when the command succeeds.
check() {
  local what=$1 output
  shift
  if output=$("$@" 2>&1); then say "ok $what"; else say "FAILED $what: $(one_line "$* => $output")"; fi
}
# equal WHAT EXPECTED GOT
equal() {
  if [ "$2" = "$3" ]; then say "ok $1"; else say "FAILED $1: expected \"$(one_line "$2")\", got \"$(one_line "$3")\""; fi
}
# has WHAT PATTERN TEXT: passes when the text has a match of the extended regular expression.
has() {
  if grep -Eq -- "$2" <<< "$3"; then say "ok $1"; else say "FAILED $1: no \"$2\" in \"$(one_line "$3")\""; fi
}
# lacks WHAT STRING TEXT: passes when the string is nowhere in the text.
lacks() {
  if grep -Fq -- "$2" <<< "$3"; then say "FAILED $1: it has what it must not have"; else say "ok $1"; fi
}
not_run() { say "not run $1: $2"; }
fact() { say "fact $1=$2"; }
one_line() { printf %s "$1" | tr -s '[:space:]' ' ' | cut -c 1-400; }

# linux 6.5: succeeds where the running kernel is at least that.
linux() { [ "$(printf '%s\n%s\n' "$1" "$(uname -r)" | sort -V | head -n 1)" = "$1" ]; }

# until_true SECONDS COMMAND...: repeats the command until it succeeds, and prints after how many
# seconds it did.
until_true() {
  local limit=$1 start=${EPOCHREALTIME/./} took
  shift
  until "$@" > /dev/null 2>&1; do
    [ $((${EPOCHREALTIME/./} - start)) -lt $((limit * 1000000)) ] || return 1
    sleep 0.2
  done
  took=$((${EPOCHREALTIME/./} - start))
  printf '%d.%d' $((took / 1000000)) $((took / 100000 % 10))
}

# Sessions: `ssh` without a terminal, a shell at the other end. What is written to its fifo runs
# there; closing the descriptor is the log-out.
declare -A SESSION_IN SESSION_OUT SESSION_PID

# open_session NAME [USER] [SSH OPTION...]
open_session() {
  local name=$1 user=${2:-alice} fd
  shift; [ $# -gt 0 ] && shift
  mkdir -p "$STATE/$name"
  rm -f "$STATE/$name"/*
  mkfifo "$STATE/$name/in" "$STATE/$name/out"
  exec {fd}<> "$STATE/$name/out"
  SESSION_OUT[$name]=$fd
  # Without the descriptors of other sessions, which would hold those open.
  { for fd in "${SESSION_IN[@]}" "${SESSION_OUT[@]}"; do exec {fd}>&-; done; exec ssh "$@" "$user@localhost" bash -l; } < "$STATE/$name/in" > "$STATE/$name/out" 2>&1 &
  SESSION_PID[$name]=$!
  exec {fd}> "$STATE/$name/in"
  SESSION_IN[$name]=$fd
  in_session "$name" 'cd ~/app' || { say "FAILED login of $user over ssh: see the log"; return 1; }
}

# in_session NAME COMMANDS: runs them there, prints what they print and returns their status. Waits
# without starting a process: the machine is slow.
in_session() {
  local name=$1 mark=done-$RANDOM$RANDOM line text='' silent=0
  printf '{\n%s\n} < /dev/null 2>&1; printf "\\n%s %%s\\n" "$?"\n' "$2" "$mark" >&"${SESSION_IN[$name]}"
  while [ $silent -lt 120 ]; do
    if ! IFS= read -r -t 1 line <&"${SESSION_OUT[$name]}"; then
      text+=$line
      silent=$((silent + 1))
      kill -0 "${SESSION_PID[$name]}" 2> /dev/null || { printf '%s\nthe session is gone\n' "$text"; return 255; }
    elif [[ $line == "$mark "* ]]; then
      # The mark begins a line of its own: what comes before it has one line end more than was
      # printed.
      text=${text%$'\n'}
      printf '%s' "$text"
      return "${line#"$mark "}"
    else
      text+=$line$'\n'
    fi
  done
  printf '%s\nno output for 120 s\n' "$text"
  return 254
}

# close_session NAME
close_session() {
  local fd=${SESSION_IN[$1]}
  exec {fd}>&-
  wait "${SESSION_PID[$1]}" 2> /dev/null
  fd=${SESSION_OUT[$1]}
  exec {fd}>&-
  unset "SESSION_IN[$1]" "SESSION_OUT[$1]"
}

# daemons [USER]: the pids of the user's daemons.
daemons() { pgrep -u "${1:-alice}" -x keyrackd; }
gone() { ! kill -0 "$1" 2> /dev/null; }
# ends WHAT PID SECONDS: passes when the process is gone by then, and says after how long.
ends() {
  local took
  if took=$(until_true "$3" gone "$2"); then say "ok $1"; echo "$1: after $took s"; else say "FAILED $1: still there after $3 s"; fi
}

# A client without keyrack's own checks: asks a socket by the legacy protocol and prints the answer.
# raw_get SOCKET [SLUG]
raw_get() {
  perl -MIO::Socket::UNIX -e '
    my ($path, $slug) = @ARGV;
    my $socket = IO::Socket::UNIX->new(Peer => $path) or die "cannot connect: $!\n";
    alarm 20; $SIG{PIPE} = "IGNORE";
    print $socket "{\"command\":\"GET\",\"payload\":{\"slugs\":[\"$slug\"]}}"; $socket->flush;
    local $/; print scalar(<$socket>) // "nothing\n";' "$1" "${2:-$ORG.test.API_KEY}"
}
socket_of_alice() { ls -t "$SOCKET_DIR"/keyrack.*.sock 2> /dev/null | head -n 1; }

# member NAME JSON: the first member of that name, of a document that `--json` printed.
member() { grep -Eo "\"$1\": *(\"[^\"]*\"|[0-9a-z]+)" <<< "$2" | head -n 1 | sed -E 's/^"[^"]*": *//; s/^"(.*)"$/\1/'; }
# seconds_left SESSION: of the first key that is unlocked there.
seconds_left() { echo $(($(member ttlLeftMs "$(in_session "$1" 'keyrack status --json')") / 1000)); }
# between WHAT LOW HIGH NUMBER
between() {
  if [ "$4" -ge "$2" ] 2> /dev/null && [ "$4" -le "$3" ]; then say "ok $1"; echo "$1: $4"; else say "FAILED $1: $4 is not between $2 and $3"; fi
}

secret() { printf %s "$(< "$STATE/secret")"; }
UNLOCK='keyrack unlock --env test --duration 30m'
GET='keyrack get --key API_KEY --env test --value'
