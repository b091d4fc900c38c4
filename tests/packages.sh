# shellcheck shell=bash
# The Debian packages that the test steps use; `install_packages` brings those that are missing.

PACKAGES=(
  libiscsi-bin                                  # iscsi-ls, iscsi-inq, iscsi-test-cu, iscsi-perf
  qemu-utils qemu-block-extra                   # qemu-img and qemu-io with iscsi://
  tgt istgt                                     # other people's targets, for our initiator
  tshark                                        # the independent decoder; brings dumpcap
  strace                                        # what the target asks of the kernel
  qemu-system-x86 kmod cpio busybox-static fio sg3-utils dmsetup   # the Linux guest
  e2fsprogs gcc libc6-dev python3 iproute2 procps util-linux
)

package_missing() { ! dpkg-query -W -f '${Status}' "$1" 2>/dev/null | grep -q 'ok installed'; }

# apt_install ARGUMENT...: apt-get install without questions and without starting a service. tgt and istgt would
# otherwise listen on every address at once; a policy-rc.d that says 101 is Debian's way to forbid it.
apt_install() {
  local policy=/usr/sbin/policy-rc.d ours='' status=0
  if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
    ours=$policy
  fi
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" </dev/null >/dev/null || status=$?
  [ -z "$ours" ] || rm -f "$ours"
  return "$status"
}

# qemu-img loads its iscsi:// driver from qemu-block-extra only when both come from one build; an image may carry
# a qemu-utils from elsewhere (backports), so both are then brought to the version that block-extra has.
match_qemu_versions() {
  qemu-img --help | grep -q '^Supported formats:.* iscsi' && return
  local version
  version=$(dpkg-query -W -f '${Version}' qemu-block-extra)
  apt_install --allow-downgrades "qemu-utils=$version" "qemu-block-extra=$version"
  qemu-img --help | grep -q '^Supported formats:.* iscsi'
}

install_packages() {
  local missing=() package
  for package in "${PACKAGES[@]}"; do
    if package_missing "$package"; then missing+=("$package"); fi
  done
  if [ "${#missing[@]}" -gt 0 ]; then
    echo "installing: ${missing[*]}"
    apt-get update -qq </dev/null >/dev/null
    apt_install "${missing[@]}"
  fi
  match_qemu_versions
}
