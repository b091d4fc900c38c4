# shellcheck shell=bash
# What the steps share: a work folder that goes away, processes that are ended by their pid, waits with a limit,
# the target under test and other people's targets. A step begins with `. "$(dirname "$0")/../lib.sh"`.
#
# Every service listens on 127.0.0.1 only, on a port that was free. Every wait is for a condition and has a limit
# that a slow machine does not reach.

set -euo pipefail

TESTS=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
ROOT=$(dirname "$TESTS")
BIN=${BIN:-${CARGO_TARGET_DIR:-$ROOT/target}/release}
GUEST_OUT=${GUEST_OUT:-$ROOT/target/guest}
TARGET_UNDER_TEST=${TARGET_UNDER_TEST:-iscsi-target}       # or tgtd: proves the scripts, not us
WITHIN=()                                                  # by what targets and relays are started: ip netns exec NAME
INITIATOR=${INITIATOR:-$BIN/iscsi-initiator}
export LC_ALL=C

WORK=$(mktemp -d "${TMPDIR:-/tmp}/ferriscsi.XXXXXX")
mkdir "$WORK/pids"
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

say() { printf '%s\n' "$*"; }
die() { printf '%s: %s\n' "$(basename "$0")" "$*" >&2; exit 1; }

# --- processes -----------------------------------------------------------------------------------------------------

# remember NAME PID: to be ended by clean_up. A process is known by its file, so that a child script may add one.
remember() { printf '%s\n' "$2" >"$WORK/pids/$1"; }
pid_of() { cat "$WORK/pids/$1"; }
running() { kill -0 "$1" 2>/dev/null && ! grep -q '^State:.Z' "/proc/$1/status" 2>/dev/null; }

# end_process NAME [SIGNAL]: asks with SIGNAL (TERM), then insists after ten seconds
end_process() {
  local file=$WORK/pids/$1 pid
  [ -f "$file" ] || return 0
  pid=$(cat "$file")
  kill "-${2:-TERM}" "$pid" 2>/dev/null || true
  wait_until 10 gone "$pid" || kill -KILL "$pid" 2>/dev/null || true
  wait "$pid" 2>/dev/null || true
  rm -f "$file"
}
gone() { ! running "$1"; }

# A step that makes more than processes and files takes it away in a function `clean_up_more`.
clean_up() {
  local status=$? file
  trap - EXIT
  for file in "$WORK"/pids/*; do
    [ -e "$file" ] || continue
    case $(basename "$file") in
      tgtd*) end_process "$(basename "$file")" KILL ;;     # it ignores SIGTERM while it has targets
      *) end_process "$(basename "$file")" ;;
    esac
  done
  if declare -F clean_up_more >/dev/null; then clean_up_more; fi
  if [ "$status" -ne 0 ] && [ -n "${KEEP_WORK:-}" ]; then say "kept: $WORK"; else rm -rf "$WORK"; fi
  exit "$status"
}

# wait_until SECONDS COMMAND...: polls until COMMAND succeeds; false when the limit is reached
wait_until() {
  local end=$((SECONDS + $1 + 1))
  shift
  until "$@" 2>/dev/null; do
    [ "$SECONDS" -lt "$end" ] || return 1
    sleep 0.05
  done
}

listening() { ss -Hltn "src 127.0.0.1 and sport = :$1" | grep -q .; }
not_listening() { ! listening "$1"; }
port_taken() { ss -Htan "sport = :$1" | grep -q .; }


# await_listener NAME PORT: until TARGET_PID listens there; shows what NAME printed when it ends instead
await_listener() {
  wait_until 20 listening_or_gone "$2" "$TARGET_PID" || true
  listening "$2" || { cat "$WORK/$1.out" >&2; die "$1 does not listen"; }
}
listening_or_gone() { listening "$1" || gone "$2"; }

# free_port: below the range that outgoing connections are given
free_port() {
  local port
  for port in $(shuf -i 20000-32000 -n 50); do
    port_taken "$port" || { echo "$port"; return; }
  done
  die 'no free port'
}

# --- the target under test -------------------------------------------------------------------------------------------

# start_target NAME [FLAG...]: FLAGs as iscsi-target has them, without --listen unless a port matters.
# Afterwards: TARGET_PID, TARGET_URL (first LUN), TARGET_ADDRESS (host:port), TARGET_PORT, TARGET_IQN, TARGET_LUN.
start_target() {
  local name=$1
  shift
  case $TARGET_UNDER_TEST in
    tgtd) start_tgtd_as "$name" "$@" ;;
    *) start_ours "$name" "$@" ;;
  esac
}

start_ours() {
  local name=$1 listen='--listen 127.0.0.1:0' flag
  shift
  for flag in "$@"; do [[ $flag != --listen && $flag != --config && $flag != --address ]] || listen=''; done
  # shellcheck disable=SC2086  # $listen is no word or two
  "${WITHIN[@]}" "$BIN/iscsi-target" $listen "$@" </dev/null >"$WORK/$name.out" 2>"$WORK/$name.err" &
  TARGET_PID=$!
  remember "$name" "$TARGET_PID"
  if ! wait_until 30 ready_or_gone "$name" "$TARGET_PID" || ! grep -q '^ready ' "$WORK/$name.out"; then
    cat "$WORK/$name.out" "$WORK/$name.err" >&2
    die "iscsi-target did not become ready: $*"
  fi
  target_is "$(sed -n 's/^ready //p' "$WORK/$name.out" | head -n 1)"
}
ready_or_gone() { grep -q '^ready ' "$WORK/$1.out" || gone "$2"; }

target_is() {
  TARGET_URL=$1
  local rest=${1#iscsi://}
  TARGET_ADDRESS=${rest%%/*}
  TARGET_PORT=${TARGET_ADDRESS##*:}
  rest=${rest#*/}
  TARGET_IQN=${rest%%/*}
  TARGET_LUN=${rest##*/}
}

# with_credentials URL USER%SECRET: the form that libiscsi's tools read
with_credentials() { echo "iscsi://$2@${1#iscsi://}"; }

# secret_file USER SECRET: prints USER:FILE, as --chap takes it
secret_file() {
  (umask 077 && printf '%s' "$2" >"$WORK/secret-$1")
  echo "$1:$WORK/secret-$1"
}

# --- other people's targets --------------------------------------------------------------------------------------------

# start_tgtd NAME IMAGE [USER:SECRET [USER:SECRET]]: Debian's tgtd with IMAGE as LUN 1, CHAP and mutual CHAP.
# tgtd whose portal is taken falls back to 0.0.0.0:3260 without a word, so the port is checked before and the
# listener after.
start_tgtd() {
  local name=$1 image=$2 chap=${3:-} mutual=${4:-} port iqn=iqn.2026-01.test:tgt digest
  port=${TGTD_PORT:-$(free_port)}
  mkdir -p /var/run/tgtd
  rm -f "/var/run/tgtd/socket.$port" "/var/run/tgtd/socket.$port.lock"
  tgtd -f -C "$port" --iscsi "portal=127.0.0.1:$port" </dev/null >"$WORK/$name.out" 2>&1 &
  TARGET_PID=$!
  remember "tgtd-$name" "$TARGET_PID"
  await_listener "$name" "$port"
  tgt "$port" --op new --mode target --tid 1 -T "$iqn"
  tgt "$port" --op new --mode logicalunit --tid 1 --lun 1 -b "$image"
  # unless told so, tgtd answers None to a lone CRC32C
  for digest in HeaderDigest DataDigest; do
    tgt "$port" --op update --mode target --tid 1 -n $digest -v None,CRC32C
  done
  [ -z "$chap" ] || tgt_account "$port" "$chap"
  [ -z "$mutual" ] || tgt_account "$port" "$mutual" --outgoing
  tgt "$port" --op bind --mode target --tid 1 -I ALL
  target_is "iscsi://127.0.0.1:$port/$iqn/1"
}
tgt() { local control=$1; shift; tgtadm -C "$control" --lld iscsi "$@"; }
tgt_account() {
  local control=$1 account=$2
  shift 2
  tgt "$control" --op new --mode account --user "${account%%:*}" --password "${account#*:}"
  tgt "$control" --op bind --mode account --tid 1 --user "${account%%:*}" "$@"
}

# start_tgtd_as NAME [FLAG...]: iscsi-target's flags for tgtd, as far as the steps use them
start_tgtd_as() {
  local name=$1 image='' size=256M chap='' mutual='' port=''
  shift
  while [ $# -gt 0 ]; do
    case $1 in
      --chap) chap=${2%%:*}:$(cat "${2#*:}") ;;
      --mutual-chap) mutual=${2%%:*}:$(cat "${2#*:}") ;;
      --listen) port=${2##*:} ;;
      --lun)
        case $2 in
          file:*) image=${2#file:} image=${image%%,*} ;;
          *) size=${2#*:} size=${size%%,*} ;;
        esac ;;
      *) die "tgtd stands in, and does not know $1" ;;
    esac
    shift 2
  done
  [ -n "$image" ] || { image=$WORK/$name.img; truncate -s "$size" "$image"; }
  TGTD_PORT=${port:-$(free_port)} start_tgtd "$name" "$image" ${chap:+"$chap"} ${mutual:+"$mutual"}
}

# start_istgt NAME IMAGE SIZE_MB [USER SECRET [USER SECRET]]: Debian's istgt with IMAGE as LUN 0, CHAP and mutual CHAP.
# It runs in the foreground with a configuration of its own; everything it writes is in the work folder. It insists
# on a control portal ([UnitControl]): that one is on loopback too, and no user may log in there.
start_istgt() {
  local name=$1 image=$2 size_mb=$3 port control directory=$WORK/$1.istgt method=None
  shift 3
  port=$(free_port) control=$(free_port)
  mkdir -p "$directory"
  case $# in
    0) ;;
    2) method=CHAP ;;
    4) method='CHAP Mutual' ;;
    *) die 'start_istgt: a user has a secret' ;;
  esac
  {
    echo '[AuthGroup1]'
    if [ $# -gt 0 ]; then printf '  Auth'; printf ' "%s"' "$@"; echo; fi
    echo '[AuthGroup2]'
  } >"$directory/auth.conf"
  cat >"$directory/istgt.conf" <<CONF
[Global]
  NodeBase "iqn.2026-01.test"
  PidFile $directory/istgt.pid
  AuthFile $directory/auth.conf
  MediaDirectory $directory
  LogFacility "local7"
  Timeout 30
  NopInInterval 20
  DiscoveryAuthMethod Auto
  MaxSessions 16
  MaxConnections 4
  MaxR2T 32
  MaxOutstandingR2T 16
  DefaultTime2Wait 0
  DefaultTime2Retain 0
  FirstBurstLength 262144
  MaxBurstLength 1048576
  MaxRecvDataSegmentLength 262144
  InitialR2T Yes
  ImmediateData Yes
  DataPDUInOrder Yes
  DataSequenceInOrder Yes
  ErrorRecoveryLevel 0
[UnitControl]
  AuthMethod CHAP Mutual
  AuthGroup AuthGroup2
  Portal UC1 127.0.0.1:$control
  Netmask 127.0.0.1
[PortalGroup1]
  Portal DA1 127.0.0.1:$port
[InitiatorGroup1]
  InitiatorName "ALL"
  Netmask 127.0.0.1/32
[LogicalUnit1]
  TargetName istgt
  TargetAlias "stand-in"
  Mapping PortalGroup1 InitiatorGroup1
  AuthMethod $method
  AuthGroup AuthGroup1
  UseDigest Auto
  UnitType Disk
  LUN0 Storage $image ${size_mb}MB
CONF
  chmod 600 "$directory"/*.conf
  istgt -D -c "$directory/istgt.conf" -p "$directory/istgt.pid" </dev/null >"$WORK/$name.out" 2>&1 &
  TARGET_PID=$!
  remember "istgt-$name" "$TARGET_PID"
  await_listener "$name" "$port"
  target_is "iscsi://127.0.0.1:$port/iqn.2026-01.test:istgt/0"
}

# start_relay NAME URL [FLAG...]: a bad network before URL, with FLAGs as relay has them. Afterwards RELAY_URL is
# the way through it, and faults are told in $WORK/NAME.out.
start_relay() {
  local name=$1 rest=${2#iscsi://}
  shift 2
  "${WITHIN[@]}" "$BIN/relay" "${rest%%/*}" "$@" </dev/null >"$WORK/$name.out" 2>"$WORK/$name.err" &
  remember "$name" $!
  wait_until 20 ready_or_gone "$name" "$(pid_of "$name")" || true
  grep -q '^ready ' "$WORK/$name.out" || { cat "$WORK/$name.err" >&2; die "no relay: $*"; }
  RELAY_URL=iscsi://$(sed -n 's/^ready //p' "$WORK/$name.out")/${rest#*/}
}
faults_of() { grep -c "^$2" "$WORK/$1.out" || true; }     # faults_of NAME cut|flip|stall: how many there were

# --- results within a step -----------------------------------------------------------------------------------------------

CHECKS_PASSED=0 CHECKS_FAILED=0

# check NAME COMMAND...: COMMAND must succeed; its output is shown when it does not
check() {
  local name=$1 status=0
  shift
  "$@" >"$WORK/check.out" 2>&1 </dev/null || status=$?
  if [ "$status" -eq 0 ]; then
    CHECKS_PASSED=$((CHECKS_PASSED + 1))
    say "ok    $name"
  else
    CHECKS_FAILED=$((CHECKS_FAILED + 1))
    say "FAIL  $name (exit $status): $*"
    tail -n 20 "$WORK/check.out" | sed 's/^/      /'
  fi
}

# finish: the step's verdict
finish() {
  say "$(basename "$0"): $CHECKS_PASSED checks good, $CHECKS_FAILED bad"
  [ "$CHECKS_FAILED" -eq 0 ] && [ "$CHECKS_PASSED" -gt 0 ]
}
