#!/bin/busybox sh
# The first process of a booted machine: loads the modules of the root drive, resumes from a
# hibernation if there is one, and hands over to systemd.
/bin/busybox mkdir -p /proc /sys /dev /root
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sysfs /sys
/bin/busybox mount -t devtmpfs devtmpfs /dev
while read -r module; do
  /bin/busybox insmod "/modules/$module" || echo "initrd: cannot load $module"
done < /modules/order
resume=
for word in $(/bin/busybox cat /proc/cmdline); do
  case $word in resume=/dev/*) resume=${word#resume=/dev/} ;; esac
done
for try in 1 2 3 4 5 6 7 8 9 10; do
  [ -b /dev/vda ] && break
  /bin/busybox sleep 1
done
# Does not come back when the drive holds an image.
[ -n "$resume" ] && [ -r "/sys/block/$resume/dev" ] && /bin/busybox cat "/sys/block/$resume/dev" > /sys/power/resume
/bin/busybox mount -t ext4 /dev/vda /root
/bin/busybox mount --move /dev /root/dev
/bin/busybox mount --move /sys /root/sys
/bin/busybox mount --move /proc /root/proc
exec /bin/busybox switch_root /root /sbin/init
