#!/usr/bin/env python3
"""Measure iSCSI targets side by side in one run, and print ratios.

usage: compare-targets.py --target NAME=URL,PID [--target ...] [--jobs LIST] [--rounds N] [--seconds S]

  --target      a running target: its name, its URL (iscsi://host:port/iqn/lun) and its process id; the first is "ours"
  --jobs        rw:block size:queue depth:connections, separated by commas
                [randread:4k:1:1,randread:4k:32:1,randread:4k:128:1,randwrite:4k:32:1,read:64k:32:1,write:64k:32:1]
  --rounds      every job runs once a round on every target, targets in turn; medians are printed [3]
  --seconds     measured time of one job, after one second of warm-up [3]
  --wire-limit  the file that `wire-limit --save` wrote: ours is also divided by the bare echo of the same bytes and depth
  --loadgen     where the load generator is built from loadgen.c, beside this file [target/loadgen]
  --target-cpu --client-cpu   processor of the targets, processor of the client [0 1]

While one target is measured the others are stopped (SIGSTOP), so that one that polls takes nothing from the rest.
Columns: IOPS, MiB/s, p50 and p99 in microseconds, target CPU in microseconds per I/O (user + system of that process,
warm-up counted on both sides of the division), and ours divided by each other target, job by job (median of rounds):
its IOPS, which is also its MiB/s, and its CPU for each I/O.
Data on the LUN is overwritten.
"""
import argparse
import json
import os
import signal
import statistics
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
JOBS = ('randread:4k:1:1,randread:4k:32:1,randread:4k:128:1,randwrite:4k:32:1,'
        'read:64k:32:1,write:64k:32:1')
WARM_UP_SECONDS = 1


class Target:
    def __init__(self, argument):
        self.name, rest = argument.split('=', 1)
        self.url, pid = rest.rsplit(',', 1)
        self.pid = int(pid)

    def cpu_microseconds(self):
        with open('/proc/%d/stat' % self.pid) as f:
            fields = f.read().rsplit(') ', 1)[1].split()
        return (int(fields[11]) + int(fields[12])) * 1e6 / os.sysconf('SC_CLK_TCK')

    def signal(self, number):
        try:
            os.kill(self.pid, number)
        except ProcessLookupError:
            pass


def arguments():
    ap = argparse.ArgumentParser(usage=__doc__)
    ap.add_argument('--target', action='append', type=Target, required=True)
    ap.add_argument('--jobs', default=JOBS)
    ap.add_argument('--rounds', type=int, default=3)
    ap.add_argument('--seconds', type=int, default=3)
    ap.add_argument('--wire-limit')
    ap.add_argument('--loadgen', default=os.path.join(HERE, '..', 'target', 'loadgen'))
    ap.add_argument('--target-cpu', default='0')
    ap.add_argument('--client-cpu', default='1')
    return ap.parse_args()


def build_loadgen(path):
    source = os.path.join(HERE, 'loadgen.c')
    if not os.path.exists(path) or os.path.getmtime(path) < os.path.getmtime(source):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        subprocess.run(['gcc', '-O2', '-march=native', '-o', path, source], check=True)


def measure(args, target, job):
    """one job on one target: what loadgen prints, and the target's CPU time for each I/O"""
    rw, block_size, depth, connections = job.split(':')
    before = target.cpu_microseconds()
    run = subprocess.run(
        ['taskset', '-c', args.client_cpu, args.loadgen, '--url', target.url, '--rw', rw, '--bs', block_size, '--qd',
         depth, '--conns', connections, '--time', str(args.seconds), '--ramp', str(WARM_UP_SECONDS)],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=args.seconds + 60)
    if run.returncode:
        raise RuntimeError((run.stderr or run.stdout).strip() or 'exit %d' % run.returncode)
    result = json.loads(run.stdout.strip().splitlines()[-1])
    if result['errors']:
        raise RuntimeError('%d commands failed' % result['errors'])
    ios = result['iops'] * (args.seconds + WARM_UP_SECONDS)
    result['cpu'] = (target.cpu_microseconds() - before) / max(1, ios)
    return result


def run_rounds(args):
    """({(job, target name): [result of each round]}, whether all went well)"""
    results, well = {}, True
    for _ in range(args.rounds):
        for job in args.jobs.split(','):
            for target in args.target:
                for other in args.target:
                    other.signal(signal.SIGCONT if other is target else signal.SIGSTOP)
                try:
                    results.setdefault((job, target.name), []).append(measure(args, target, job))
                except (RuntimeError, subprocess.TimeoutExpired) as e:
                    print('%s %s: FAILED %s' % (job, target.name, e), flush=True)
                    well = False
    return results, well


def wire_limits(path):
    """{(read or write, depth): IOPS} of the bare echo, for blocks of 4 KiB"""
    if not path:
        return {}
    with open(path) as f:
        rows = json.load(f)['wire_limit']
    return {(row['rw'], str(row['iodepth'])): row['iops'] for row in rows}


def print_table(args, results):
    limits, ours = wire_limits(args.wire_limit), args.target[0].name
    print('%-22s %-14s %9s %8s %8s %9s %9s   %s/this: %5s %6s' %
          ('job', 'target', 'IOPS', 'MiB/s', 'p50', 'p99', 'cpu us/io', ours, 'IOPS', 'cpu'))
    indent = len(ours + '/this: ')
    for job in args.jobs.split(','):
        base = results.get((job, ours), [])
        for target in args.target:
            rounds = results.get((job, target.name), [])
            if not rounds:
                continue
            median = {k: statistics.median(r[k] for r in rounds)
                      for k in ('iops', 'mib_s', 'p50_us', 'p99_us', 'cpu')}
            ratios = [statistics.median(x[k] / max(y[k], 1e-9) for x, y in zip(base, rounds)) if base else float('nan')
                      for k in ('iops', 'cpu')]
            print('%-22s %-14s %9.0f %8.1f %8.1f %9.1f %9.2f   %*s%5.2f %6.3f' %
                  (job, target.name, *(median[k] for k in ('iops', 'mib_s', 'p50_us', 'p99_us', 'cpu')),
                   indent, '', *ratios))
        rw, block_size, depth, connections = job.split(':')
        limit = limits.get((rw.replace('rand', ''), depth))
        if limit and base and block_size == '4k' and connections == '1':
            iops = statistics.median(r['iops'] for r in base)
            print('%-22s %-14s %9.0f %40s%*s%5.2f' % (job, '(wire limit)', limit, '', indent + 1, '', iops / limit))


def main():
    args = arguments()
    build_loadgen(args.loadgen)
    try:
        for target in args.target:
            subprocess.run(['taskset', '-a', '-c', '-p', args.target_cpu, str(target.pid)],
                           stdout=subprocess.DEVNULL, check=True)
        results, well = run_rounds(args)
        print_table(args, results)
    finally:
        for target in args.target:
            target.signal(signal.SIGCONT)
    return 0 if well else 1


if __name__ == '__main__':
    sys.exit(main())
