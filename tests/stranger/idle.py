#!/usr/bin/env python3
"""What idle sessions cost the target.

usage: idle.py URL PID [--sessions N] [--seconds S]

Logs in N sessions [10000] that then only answer pings, waits S seconds [10], and prints the target's resident memory
for each session and the share of a processor that it takes. Each session needs a descriptor here and there. Exit
status 1 if a session costs more than 64 KiB, or all of them more than 1 % of a processor.
"""
import argparse
import os
import resource
import selectors
import sys
import time

import wire

SESSION_KIB_MAX = 64
BUSY_PERCENT_MAX = 1


def resident(pid):
    with open('/proc/%d/status' % pid) as f:
        return next(int(line.split()[1]) * 1024 for line in f if line.startswith('VmRSS:'))


def cpu_seconds(pid):
    with open('/proc/%d/stat' % pid) as f:
        fields = f.read().rsplit(') ', 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')


def log_in(address, iqn, number):
    connection = wire.Connection(address, 20)
    isid = b'\x80\x12' + number.to_bytes(4, 'big')
    assert connection.login(iqn, name='%s-%d' % (wire.INITIATOR_NAME, number), isid=isid) == 0
    return connection


def main():
    ap = argparse.ArgumentParser(usage=__doc__)
    ap.add_argument('url')
    ap.add_argument('pid', type=int)
    ap.add_argument('--sessions', type=int, default=10000)
    ap.add_argument('--seconds', type=int, default=10)
    args = ap.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    address, iqn, _ = wire.split_url(args.url)

    log_in(address, iqn, 0).logout()
    before, selector, connections = resident(args.pid), selectors.DefaultSelector(), []
    for number in range(1, args.sessions + 1):
        connections.append(log_in(address, iqn, number))
        selector.register(connections[-1].socket, selectors.EVENT_READ, connections[-1])
    grown, busy, end = resident(args.pid) - before, cpu_seconds(args.pid), time.monotonic() + args.seconds
    pings = 0
    while (left := end - time.monotonic()) > 0:
        for key, _ in selector.select(left):
            pdu = key.data.receive()
            if pdu.opcode == wire.NOP_IN:
                key.data.answer_ping(pdu)
                pings += 1
    busy = (cpu_seconds(args.pid) - busy) / args.seconds
    session_kib, busy_percent = grown / args.sessions / 1024, busy * 100
    print('%d idle sessions: %.1f KiB each, %.2f%% of a processor (%d pings answered in %d s)' %
          (args.sessions, session_kib, busy_percent, pings, args.seconds))
    return 1 if session_kib > SESSION_KIB_MAX or busy_percent > BUSY_PERCENT_MAX else 0


if __name__ == '__main__':
    sys.exit(main())
