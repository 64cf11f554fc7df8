#!/bin/sh
# Runs inside the root directory of the image, once, after its packages are installed.
set -eu
echo keyrack-vm > /etc/hostname
printf '127.0.0.1 localhost keyrack-vm\n::1 localhost\n' > /etc/hosts
printf '/dev/vda / ext4 defaults 0 0\n' > /etc/fstab

for user in alice bob; do
  useradd --create-home --shell /bin/bash "$user"
  echo "$user:$user" | chpasswd
done
echo 'alice ALL=(ALL:ALL) NOPASSWD: ALL' > /etc/sudoers.d/alice
chmod 0440 /etc/sudoers.d/alice

# root logs in as either of them; alice's own key opens her rack.
mkdir -p -m 0700 /root/.ssh
ssh-keygen -q -t ed25519 -N '' -f /root/.ssh/id_ed25519
for user in alice bob; do
  install -d -m 0700 -o "$user" -g "$user" "/home/$user/.ssh"
  install -m 0600 -o "$user" -g "$user" /root/.ssh/id_ed25519.pub "/home/$user/.ssh/authorized_keys"
done
runuser -u alice -- ssh-keygen -q -t ed25519 -N '' -f /home/alice/.ssh/id_ed25519
printf 'StrictHostKeyChecking accept-new\nLogLevel ERROR\n' > /root/.ssh/config
printf 'UseDNS no\nPrintMotd no\nMaxStartups 100\n' > /etc/ssh/sshd_config.d/vm.conf

# The second serial port carries the results, the first the kernel's messages; neither has a login.
cat > /etc/systemd/system/vm.service <<'UNIT'
[Unit]
Description=Scenarios of keyrack
After=ssh.service systemd-logind.service cron.service atd.service dbus.service systemd-user-sessions.service
FailureAction=poweroff-force
[Service]
Type=simple
ExecStart=/bin/sh -c 'mkdir -p /opt/vm && tar -xf /dev/vdb -C /opt/vm && exec /bin/bash /opt/vm/guest/run.sh'
StandardInput=null
StandardOutput=file:/dev/ttyS1
StandardError=inherit
KillMode=process
[Install]
WantedBy=multi-user.target
UNIT
systemctl -q enable vm.service
systemctl -q mask getty@tty1.service serial-getty@ttyS0.service serial-getty@ttyS1.service apt-daily.timer apt-daily-upgrade.timer \
  dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service fstrim.timer systemd-tmpfiles-clean.timer
rm -rf /usr/share/doc /usr/share/man /usr/share/locale /var/cache/apt /var/lib/apt/lists
