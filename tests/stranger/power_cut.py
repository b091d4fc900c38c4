#!/usr/bin/env python3
"""A target that is killed again and again, and what it must have after each restart.

usage: power_cut.py TARGET-BINARY FOLDER [--rounds N] [--seed N]

Each round starts the target on a file with a folder for its records, loads it, and ends it with SIGKILL at a random moment: connections
write blocks and flush, and one more changes persistent reservations, with APTPL, for two initiators. After the restart every acknowledged
write is there, no block is torn, and registrations and reservation are as after the last change that was acknowledged, or as after the one
that was under way. The same seed makes the same choices; the moments are the machine's.
"""
import argparse
import os
import random
import select
import signal
import struct
import subprocess
import sys
import threading
import time

import wire

IQN = 'iqn.2026-01.io.ferriscsi:disk'
BLOCK = 512
PLACES = 64                      # blocks of one writer, each written by itself
WRITERS = 3
START_SECONDS = 20


class Target:
    def __init__(self, binary, folder, extra):
        self.log = open(os.path.join(folder, 'target.log'), 'ab')
        self.process = subprocess.Popen(
            [binary, '--listen', '127.0.0.1:0', '--state', os.path.join(folder, 'state'), '--lun',
             'file:%s,size=16M%s' % (os.path.join(folder, 'disk'), extra)], stdout=subprocess.PIPE, stderr=self.log)
        if not select.select([self.process.stdout], [], [], START_SECONDS)[0]:
            raise AssertionError('the target does not say that it is ready')
        line = self.process.stdout.readline().decode()
        if not line.startswith('ready iscsi://'):
            raise AssertionError('the target does not start; see %s' % self.log.name)
        self.address = wire.split_url(line.split()[1])[0]

    def connect(self, number):
        connection = wire.Connection(self.address, 60)
        name = '%s-%d' % (wire.INITIATOR_NAME, number)
        assert connection.login(IQN, name=name, isid=b'\x80\x12\x34\0\0' + bytes([number])) == 0
        connection.ready()
        return connection

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.process.stdout.close()
        self.log.close()


def content(place, number):
    return struct.pack('>QQ', place, number) * (BLOCK // 16)


class Writer:
    """Blocks of one connection: the number of the write that each holds, by acknowledgement and by attempt."""

    def __init__(self, index):
        self.places = range(index * PLACES, (index + 1) * PLACES)
        self.acknowledged, self.attempted, self.count = {}, {}, 0

    def run(self, connection, rng):
        try:
            while True:
                if rng.random() < 0.1:
                    status, sense, _ = connection.command(b'\x35' + bytes(9))
                else:
                    place = rng.choice(self.places)
                    self.count += 1
                    self.attempted[place] = self.count
                    status, sense, _ = connection.write(place, content(place, self.count))
                    if status == 0:
                        self.acknowledged[place] = self.count
                    else:
                        # What was refused is not there.
                        self.attempted[place] = self.acknowledged.get(place)
                # Another initiator may keep this one from writing, or tell it something by unit attention.
                if status not in (0, 0x18) and not (status == 2 and sense[0] == 6):
                    raise AssertionError('status %#x %s' % (status, sense))
        except (wire.Closed, wire.Silence, OSError):
            pass

    def verify(self, connection):
        for place in self.places:
            status, sense, data = connection.read_blocks(place, 1)
            if status:
                raise AssertionError('block %d cannot be read: status %#x %s' % (place, status, sense))
            may = {self.acknowledged.get(place), self.attempted.get(place)}
            # A block that was never acknowledged may hold nothing.
            wanted = [bytes(BLOCK) if number is None else content(place, number) for number in may]
            if data not in wanted:
                raise AssertionError('block %d holds %s, not write %s' % (place, data[:16].hex(), may))
            found = struct.unpack_from('>QQ', data)[1]
            self.acknowledged[place] = self.attempted[place] = found or None


REGISTER, RESERVE, RELEASE, CLEAR, PREEMPT, IGNORE = 0, 1, 2, 3, 4, 6


def changed(state, who, action, key, kind):
    """the state that a service action leaves, which is (keys of both, holder, type); it is only asked for what succeeds"""
    keys, holder, held = state
    keys = list(keys)
    if action == IGNORE:
        keys[who] = key
        if key == 0 and holder == who:
            holder, held = None, 0
    elif action == RESERVE:
        holder, held = who, kind
    elif action == RELEASE:
        holder, held = None, 0
    elif action == CLEAR:
        keys, holder, held = [0, 0], None, 0
    elif action == PREEMPT:
        keys[1 - who] = 0
        if holder == 1 - who:
            holder, held = who, kind
    return tuple(keys), holder, held


class Reserver:
    """Two initiators that change reservations in turn."""

    def __init__(self):
        self.acknowledged = self.attempted = ((0, 0), None, 0)

    def choose(self, rng):
        keys, holder, held = self.acknowledged
        who = rng.randrange(2)
        # Types 1h, 3h, 5h, 6h: those with one holder.
        kind = rng.choice((1, 3, 5, 6))
        if keys[who] == 0:
            return who, IGNORE, rng.randrange(1, 1000) * 2 + who, 0
        choices = [(who, IGNORE, rng.choice((0, rng.randrange(1, 1000) * 2 + who)), 0), (who, CLEAR, 0, 0)]
        if holder is None:
            choices += [(who, RESERVE, 0, kind)] * 4
        if holder == who:
            choices += [(who, RELEASE, 0, held)] * 2
        if keys[1 - who]:
            choices += [(who, PREEMPT, keys[1 - who], kind)] * 2
        return rng.choice(choices)

    def run(self, connections, rng):
        try:
            while True:
                who, action, key, kind = self.choose(rng)
                self.attempted = changed(self.acknowledged, who, action, key, kind)
                own = 0 if action == IGNORE else self.acknowledged[0][who]
                data = struct.pack('>QQ4sB3x', own, key, b'', 1 if action == IGNORE else 0)
                cdb = struct.pack('>BBBxxIx', 0x5f, action, kind, len(data))
                status, sense, _ = connections[who].command(cdb, data=data)
                if status == 2 and sense[0] == 6:
                    self.attempted = self.acknowledged
                    continue
                if status:
                    raise AssertionError('action %d: status %#x %s' % (action, status, sense))
                self.acknowledged = self.attempted
        except (wire.Closed, wire.Silence, OSError):
            pass

    def verify(self, connection):
        full = connection.command(b'\x5e\x03' + struct.pack('>xxxxxHx', 4096), read=4096)[2]
        keys, holder, held, at = [0, 0], None, 0, 8
        end = 8 + struct.unpack_from('>I', full, 4)[0]
        while at < end:
            length = struct.unpack_from('>I', full, at + 20)[0]
            name = full[at + 28:at + 24 + length].split(b'\0')[0].decode()
            who = int(name.split(',')[0].rsplit('-', 1)[1]) - 1
            keys[who] = struct.unpack_from('>Q', full, at)[0]
            if full[at + 12] & 1:
                holder, held = who, full[at + 13] & 15
            at += 24 + length
        found = tuple(keys), holder, held
        if found not in (self.acknowledged, self.attempted):
            raise AssertionError('reservations are %s, not %s or %s' % (found, self.acknowledged, self.attempted))
        self.acknowledged = self.attempted = found


def one_round(arguments, rng, writers, reserver, failures):
    target = Target(arguments.target, arguments.folder, rng.choice(('', ',wce=off')))
    seeds = [rng.random() for _ in range(WRITERS + 1)]
    pause = rng.uniform(0.01, 0.15)

    def guarded(run, *what):
        try:
            run(*what)
        except AssertionError as error:
            failures.append(error)
    try:
        pair = verified(target, writers, reserver)
        jobs = [(reserver.run, pair)] + [(writer.run, target.connect(3 + n)) for n, writer in enumerate(writers)]
        threads = [threading.Thread(target=guarded, args=(run, what, random.Random(seed)))
                   for (run, what), seed in zip(jobs, seeds)]
        for thread in threads:
            thread.start()
        # Nothing is waited for: that nobody knows what is under way then is what this is about.
        time.sleep(pause)
    except AssertionError as error:
        failures.append(error)
        return
    finally:
        target.kill()
    for thread in threads:
        thread.join()


def verified(target, writers, reserver):
    """two connections, once they have seen what the last round has left"""
    pair = [target.connect(1), target.connect(2)]
    reserver.verify(pair[0])
    # The holder may read whatever is reserved.
    reader = pair[reserver.acknowledged[1] or 0]
    for writer in writers:
        writer.verify(reader)
    return pair


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument('target')
    parser.add_argument('folder')
    parser.add_argument('--rounds', type=int, default=40)
    parser.add_argument('--seed', type=int, default=1)
    arguments = parser.parse_args()
    rng = random.Random(arguments.seed)
    writers, reserver, failures = [Writer(n) for n in range(WRITERS)], Reserver(), []
    changes = 0
    for number in range(arguments.rounds):
        before = reserver.acknowledged
        one_round(arguments, rng, writers, reserver, failures)
        changes += before != reserver.acknowledged
        if failures:
            print('round %d of seed %d: %s' % (number, arguments.seed, failures[0]))
            return 1
    target = Target(arguments.target, arguments.folder, '')
    try:
        verified(target, writers, reserver)
    finally:
        target.kill()
    written = sum(writer.count for writer in writers)
    print('%d kills, %d writes, reservations changed in %d rounds: all that was acknowledged is there' % (
        arguments.rounds, written, changes))
    return 0 if written and changes else 1


if __name__ == '__main__':
    sys.exit(main())
