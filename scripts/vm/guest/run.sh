#!/bin/bash
# Runs in the machine, as root, when it has booted: each scenario of the plan with its time limit,
# in a fresh home. Lines for the host: see lib.sh.
cd /opt/vm || exit 1
mkdir -p /run/vm
chmod 755 /run/vm
stty -F /dev/ttyS1 raw 2> /dev/null
. guest/lib.sh
install -m 755 bin/keyrack bin/keyrackd /usr/local/bin/
say "booted $(uname -r)"

# alice's rack with one key that the scripts know, kept as an archive for each scenario to start
# from.
head -c 24 /dev/urandom | base64 | tr '+/' 'ab' > /run/vm/secret.new
chmod 600 /run/vm/secret.new
tr -d '\n' < /run/vm/secret.new > /run/vm/secret
rm /run/vm/secret.new
make_rack() {
  cd ~ && mkdir -p app/.git && cd app && keyrack init --org acme < /dev/null &&
    keyrack set --key API_KEY --env test --vault os.secure --mech PERMANENT_VIA_REPLICA
}
export -f make_rack
if ! runuser -l alice -c "$(declare -f make_rack); make_rack" < /run/vm/secret; then say 'FAILED init and set without a session: see the log'; fi
tar -C /home -cf /run/vm/home.tar alice

reset() {
  loginctl disable-linger alice 2> /dev/null
  for user in alice bob; do
    loginctl terminate-user "$user" 2> /dev/null
    pkill -KILL -u "$user"
  done
  until_true 20 eval '! pgrep -u alice > /dev/null' > /dev/null
  rm -rf /home/alice /tmp/keyrack-* && tar -C /home -xf /run/vm/home.tar
  chmod 600 /run/vm/secret
}

while read -r name seconds <&3; do
  say "scenario $name"
  timeout --kill-after 10 "$seconds" bash -c '. guest/lib.sh; . "scenarios/$0.sh"' "$name" 3<&-
  case $? in
    0) ;;
    124 | 137) say "FAILED the scenario ends: not within $seconds s" ;;
    *) say "FAILED the scenario ends: its script failed" ;;
  esac
  reset
  say "end $name"
done 3< plan
say 'all done'
sleep 1
systemctl poweroff --force --force
