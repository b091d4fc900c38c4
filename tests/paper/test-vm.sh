# test-vm.sh: runs in the guest, which stands for the test VM of the paper: discover, log in, mkfs.ext3, the fio job, unmount, log out.
# Parameters (set by run-guest.sh): PORTALS TARGET. Files in /tmp: fio_config_file, shortened.
mark booted
iscsid_start
portal=${PORTALS%% *}

iscsiadm -m discovery -t sendtargets -p "$portal" | sed 's/^/DISCOVERED: /' | tee /tmp/discovered
grep -q " $TARGET\$" /tmp/discovered || die "$TARGET was not discovered"
# The target is known by the address that it listens on, which is another one seen from here.
iscsiadm -m node -o delete >/dev/null 2>&1
run iscsiadm -m node -o new -T "$TARGET" -p "$portal"
node_set "$TARGET" "$portal" 'node.conn[0].iscsi.HeaderDigest' CRC32C
node_set "$TARGET" "$portal" 'node.conn[0].iscsi.DataDigest' CRC32C
run iscsiadm -m node -T "$TARGET" -p "$portal" --login
wait_devs 1 15
session_params
disk=/dev/$(iscsi_devs)

run mkfs.ext3 -q -F "$disk"
run mount -t ext3 "$disk" /mnt
dd if=/dev/urandom of=/mnt/check bs=64k count=64 2>/dev/null
sum=$(md5sum < /mnt/check)

sed -i "s#^filename=/dev/sdb#filename=$disk#" /tmp/fio_config_file
fio --eta=never /tmp/fio_config_file > /tmp/fio.out 2>&1 || { cat /tmp/fio.out; die "fio"; }
grep -E 'err=|IOPS=|^  cpu' /tmp/fio.out

run umount /mnt
e2fsck -fn "$disk" > /tmp/fsck.out 2>&1 || { cat /tmp/fsck.out; die "e2fsck"; }
run mount -t ext3 "$disk" /mnt
[ "$(md5sum < /mnt/check)" = "$sum" ] || die "the file differs"
run umount /mnt
run iscsiadm -m node -T "$TARGET" -p "$portal" --logout
[ -z "$(iscsi_devs)" ] || die "disks left after logout"
dmesg | grep -E 'I/O error|Sense Key|detected conn error' && die "errors in the kernel's log"
log "as in the paper: done"
