#!/usr/bin/env python3
"""Writes that are remembered once they are acknowledged, so that a target that stops can be asked for them later.

usage: acknowledged.py load URL FILE [--connections N]     writes until the target ends the connections, then FILE
       acknowledged.py verify URL FILE                     every acknowledged write must be there; exit 1 if not

`load` prints `loading` once a thousand writes are acknowledged. Each connection writes blocks of 4 KiB in a region
of its own, one command at a time. When the target asks for a logout (Async Message, RFC 7143 section 11.9) it gets
one after the command under way. One more session is deaf: it logs in and never reads again.
"""
import argparse
import json
import random
import struct
import sys
import threading

import wire

BLOCK = 4096


def content(place, number):
    return struct.pack('>QQ', place, number) * (BLOCK // 16)


class Writer:
    def __init__(self, address, iqn, lun, index, places):
        self.connection = wire.Connection(address, 60)
        assert self.connection.login(iqn, name='%s-%d' % (wire.INITIATOR_NAME, index),
                                     isid=b'\x80\x12\x34\0\0' + bytes([index])) == 0
        self.connection.ready(lun)
        self.lun, self.places = lun, places
        self.acknowledged, self.attempted, self.count, self.end = {}, {}, 0, 'not ended'

    def run(self):
        rng = random.Random(self.places.start)
        try:
            while not self.connection.logout_requested:
                place = rng.choice(self.places)
                self.attempted[place] = self.count
                status = self.connection.write(place * (BLOCK // 512), content(place, self.count), self.lun)[0]
                if status:
                    raise AssertionError('status %d' % status)
                self.acknowledged[place] = self.count
                self.count += 1
            self.connection.logout()
            self.end = 'logged out'
        except (wire.Closed, wire.Silence, AssertionError) as e:
            self.end = '%s %s' % (type(e).__name__, e)


def load(address, iqn, lun, path, connections):
    deaf = wire.Connection(address, 60)
    assert deaf.login(iqn, name=wire.INITIATOR_NAME + '-deaf', isid=b'\x80\x12\x34\0\0\xff') == 0
    region = 1024
    writers = [Writer(address, iqn, lun, n + 1, range(n * region, (n + 1) * region)) for n in range(connections)]
    threads = [threading.Thread(target=writer.run) for writer in writers]
    for thread in threads:
        thread.start()
    while sum(writer.count for writer in writers) < 1000 and any(thread.is_alive() for thread in threads):
        threads[0].join(0.05)
    print('loading', flush=True)
    for thread in threads:
        thread.join()
    places = {}
    for writer in writers:
        for place, number in writer.acknowledged.items():
            places[place] = [number, writer.attempted[place]]
    with open(path, 'w') as f:
        json.dump(places, f)
    for writer in writers:
        print('%d writes acknowledged, then: %s' % (writer.count, writer.end))
    return 0 if places else 1


def verify(address, iqn, lun, path):
    with open(path) as f:
        places = json.load(f)
    connection = wire.Connection(address, 60)
    assert connection.login(iqn) == 0
    connection.ready(lun)
    lost = 0
    for place, (acknowledged, attempted) in places.items():
        place = int(place)
        data = connection.read_blocks(place * (BLOCK // 512), BLOCK // 512, lun)[2]
        if not any(data == content(place, number) for number in {acknowledged, attempted}):
            lost += 1
    connection.logout()
    print('%d places, %d lost' % (len(places), lost))
    return 1 if lost or not places else 0


def main():
    ap = argparse.ArgumentParser(usage=__doc__)
    ap.add_argument('what', choices=('load', 'verify'))
    ap.add_argument('url')
    ap.add_argument('file')
    ap.add_argument('--connections', type=int, default=8)
    args = ap.parse_args()
    address, iqn, lun = wire.split_url(args.url)
    if args.what == 'load':
        return load(address, iqn, lun, args.file, args.connections)
    return verify(address, iqn, lun, args.file)


if __name__ == '__main__':
    sys.exit(main())
