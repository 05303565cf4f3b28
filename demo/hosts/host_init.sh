#!/bin/sh
# PID 1 of a demo host, in new network, mount, uts and pid namespaces: host_init.sh NAME DIRECTORY
# Knows how to make a machine of its own out of this one: the whole root under an overlay, everything volatile new.
# Must not know what the machine is for. Says "ready" on its standard output, then reaps orphans for ever.
set -eu
umask 022
name=$1
work=$2

hostname "$name"
mount -t tmpfs -o mode=0755,size=1g "$name" "$work"
mkdir "$work/upper" "$work/work" "$work/root"
mount -t overlay -o "lowerdir=/,upperdir=$work/upper,workdir=$work/work" "$name" "$work/root"
cd "$work/root"

# A machine fresh from its image: nothing that this machine's owner keeps, nothing that an earlier set-up left.
mount -t tmpfs -o mode=0700 "$name" root
mount -t tmpfs -o mode=0755 "$name" home
rm -rf etc/drawbridge var/lib/drawbridge etc/ssh/ssh_host_* etc/wireguard
mkdir -m 0700 etc/wireguard
printf '%s\n' "$name" >etc/hostname
printf '127.0.0.1 localhost\n127.0.1.1 %s\n' "$name" >etc/hosts
rm -f etc/resolv.conf
: >etc/resolv.conf

mount -t proc -o nosuid,nodev,noexec proc proc
mount -t sysfs -o ro,nosuid,nodev,noexec sysfs sys
mount -t tmpfs -o mode=0755,nosuid,nodev "$name" run
mkdir -m 1777 run/lock
mount -t tmpfs -o mode=1777,nosuid,nodev "$name" tmp
mount -t tmpfs -o mode=0755,nosuid "$name" dev
cp -a /dev/null /dev/zero /dev/full /dev/random /dev/urandom /dev/tty dev/
mkdir dev/net dev/pts dev/shm
cp -a /dev/net/tun dev/net/
chmod 0666 dev/net/tun # as udev's own rules have it
mount -t devpts -o newinstance,ptmxmode=0666,mode=0620,gid=5 devpts dev/pts
mount -t tmpfs -o mode=1777,nosuid,nodev "$name" dev/shm
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
ln -s /proc/self/fd/0 dev/stdin
ln -s /proc/self/fd/1 dev/stdout
ln -s /proc/self/fd/2 dev/stderr

mkdir run/old
pivot_root . run/old
umount -l run/old
rmdir run/old
cd /

echo ready
exec >/dev/null
# Waiting for one child reaps every orphan that ends meanwhile.
while :; do
    sleep 86400 &
    wait "$!" || :
done
