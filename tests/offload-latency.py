#!/usr/bin/env python3
"""What copies and SANITIZE inside a target do to the reads of other sessions.

usage: offload-latency.py --initiator iscsi-initiator --loadgen loadgen --url URL_OF_LUN_0 [--rounds 9] [--seconds 1]
       [--most 1.5]

The target has three disks, of which 1 is copied to 2. Each round measures random reads of 4 KiB of disk 0 three times: with nothing else going on,
while EXTENDED COPY follows EXTENDED COPY, and while SANITIZE (block erase, then overwrite) follows SANITIZE on disk 2. One line a round, with how many of
those have ended, then the medians, and the medians of the rounds' ratios. Exit status 1 if a median ratio of the 99th percentiles is above --most.

Whoever gives those commands runs only when nobody else wants its processor (SCHED_IDLE): what is asked is what the target does to the reads, not what
programs that start beside the load do to it.
"""
import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import threading
import time


def yield_to_all():
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


class Background:
    """Commands that follow each other until the end of the block, and how many of them there were."""

    def __init__(self, commands):
        self.commands, self.count, self.running, self.failed = commands, 0, True, None

    def __enter__(self):
        self.thread = threading.Thread(target=self.work)
        self.thread.start()
        time.sleep(0.3)
        return self

    def work(self):
        for command in itertools.cycle(self.commands):
            if not self.running:
                return
            result = subprocess.run(command, capture_output=True, text=True, preexec_fn=yield_to_all)
            if result.returncode:
                self.failed = f'{" ".join(command)}: {result.stderr.strip()}'
                return
            self.count += 1

    def __exit__(self, *_):
        self.running = False
        self.thread.join()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--initiator', required=True)
    parser.add_argument('--loadgen', required=True)
    parser.add_argument('--url', required=True)
    parser.add_argument('--depth', type=int, default=4)
    parser.add_argument('--rounds', type=int, default=9)
    parser.add_argument('--seconds', type=int, default=1)
    parser.add_argument('--most', type=float, default=1.5)
    arguments = parser.parse_args()
    base = arguments.url.rsplit('/', 1)[0]
    disk = lambda lun: f'{base}/{lun}'
    ours = arguments.initiator

    def reads():
        command = [arguments.loadgen, '--url', arguments.url, '--rw', 'randread', '--bs', '4k', '--qd', str(arguments.depth),
                   '--conns', '1', '--time', str(arguments.seconds), '--ramp', '0']
        return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    jobs = {
        'alone': [],
        'copy': [[ours, 'copy', '--offload', disk(1), disk(2)]],
        'sanitize': [[ours, 'sanitize', disk(2), '--yes', '--method', how] for how in ('block-erase', 'overwrite')],
    }
    p99 = {name: [] for name in jobs}
    iops = {name: [] for name in jobs}
    for number in range(arguments.rounds):
        told = []
        for name, commands in jobs.items():
            beside = ''
            if commands:
                with Background(commands) as background:
                    result = reads()
                if background.failed:
                    sys.exit(f'offload-latency: {background.failed}')
                if not background.count:
                    sys.exit(f'offload-latency: no {name} has ended')
                beside = f' beside {background.count}'
            else:
                result = reads()
            p99[name].append(result['p99_us'])
            iops[name].append(result['iops'])
            told.append(f'{name} {result["p99_us"]:.0f} us at {result["iops"]:.0f}/s{beside}')
        print(f'round {number + 1}: ' + ', '.join(told), flush=True)
    worst = 0
    for name in jobs:
        ratio = statistics.median(mine / alone for mine, alone in zip(p99[name], p99['alone']))
        worst = max(worst, ratio)
        print(f'{name:9} p99 {statistics.median(p99[name]):8.0f} us, IOPS {statistics.median(iops[name]):9.0f}, '
              f'p99 by that alone {ratio:.2f}')
    sys.exit(worst > arguments.most)


main()
