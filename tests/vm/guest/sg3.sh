# sg3.sh: sourced in the guest with two disks there: what sg3_utils make of them, and a file system that discards
set -- $(iscsi_devs); A=/dev/$1 B=/dev/$2
cd /tmp

# expect STATUS PATTERN COMMAND...: the command ends so, and says so
expect() {
  want=$1 pattern=$2; shift 2
  "$@" > /tmp/sg.out 2>&1; rc=$?
  log "$* -> $rc"
  [ $rc -eq "$want" ] && { [ -z "$pattern" ] || grep -qE "$pattern" /tmp/sg.out; } || { cat /tmp/sg.out; die "expected status $want and '$pattern' of: $*"; }
}
sg_of() { for sg in /sys/block/"${1#/dev/}"/device/scsi_generic/*; do echo "/dev/${sg##*/}"; done; }
blocks() { dd if="$1" bs=512 skip="$2" count="$3" iflag=direct 2>/dev/null | md5sum; }   # past the guest's page cache

expect 0 'Compare and write' sg_opcodes $A
expect 0 'Write atomic|Write using token|Sanitize' sg_opcodes $A
expect 0 'Recommended' sg_opcodes --rctd $A
expect 0 'Maximum compare and write length: 255' sg_vpd -a $A
for page in 0x00 0x80 0x83 0x85 0x86 0x87 0x88 0x8f 0xb0 0xb1 0xb2 0xb3; do expect 0 'VPD' sg_vpd --page=$page $A; done
expect 0 'lbprz=1' sg_readcap --16 $A
expect 0 'active/optimized' sg_rtpg --decode $A

expect 0 '' sg_persist --out --register --param-sark=0x1234 $A
expect 0 '0x1234' sg_persist --in --read-keys $A
expect 0 '' sg_persist --out --reserve --param-rk=0x1234 --prout-type=5 $A
expect 0 'Write Exclusive, registrants only' sg_persist --in --read-reservation $A
expect 0 'Reservation holder|reservation' sg_persist --in --read-full-status $A
expect 0 '' sg_persist --out --release --param-rk=0x1234 --prout-type=5 $A
expect 0 'Persistent Reservations|Type mask' sg_persist --in --report-capabilities $A
expect 0 '' sg_persist --out --clear --param-rk=0x1234 $A

dd if=/dev/zero of=old bs=512 count=1 2>/dev/null
dd if=/dev/urandom of=new bs=512 count=1 2>/dev/null
cat old new > pair
expect 0 '' sg_compare_and_write --in=pair --lba=8 --xferlen=1024 $A
[ "$(blocks $A 8 1)" = "$(md5sum < new)" ] || die "COMPARE AND WRITE has not written"
expect 14 '' sg_compare_and_write --in=pair --lba=8 --xferlen=1024 $A
expect 0 'mapped' sg_get_lba_status --lba=8 $A
expect 0 '' sg_unmap --force --lba=8 --num=8 $A
[ "$(blocks $A 8 1)" = "$(md5sum < old)" ] || die "UNMAP has left data"
expect 0 'deallocated' sg_get_lba_status --lba=8 $A
expect 0 '' sg_write_same --16 --in=new --lba=16 --num=8 --xferlen=512 $A
[ "$(blocks $A 23 1)" = "$(md5sum < new)" ] || die "WRITE SAME has not written"
expect 0 '' sg_verify --lba=16 --count=8 $A
expect 0 '' sg_sync $A
expect 0 '' sg_sync --immed $A

dd if=/dev/urandom of=$A bs=64k count=16 conv=fsync 2>/dev/null
expect 0 '' sg_xcopy if="$(sg_of $A)" of="$(sg_of $B)" bs=512 count=2048
[ "$(blocks $A 0 2048)" = "$(blocks $B 0 2048)" ] || die "EXTENDED COPY has copied something else"
expect 0 '' sg_sanitize --block --quick --early $B   # by itself it asks once a minute
for i in $(seq 100); do sg_turs $B >/dev/null 2>&1 && break; sleep 0.1; done
dd if=/dev/zero of=zeros bs=512 count=2048 2>/dev/null
[ "$(blocks $B 0 2048)" = "$(md5sum < zeros)" ] || die "SANITIZE has left data"

run mkfs.ext4 -q -F -E discard $A
run mount -t ext4 -o discard $A /mnt
dd if=/dev/urandom of=/mnt/file bs=1M count=32 2>/dev/null; sync
rm /mnt/file; sync
expect 0 'trimmed' fstrim -v /mnt
run umount /mnt
expect 0 '' e2fsck -fn $A
log "sg3 done"
