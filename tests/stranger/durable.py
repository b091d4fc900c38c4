#!/usr/bin/env python3
"""Whether GOOD means durable, and what a full disk says, seen from outside the target.

usage: durable.py sync URL PID TRACE   the LUN is a file; TRACE is where strace writes; the LUN is overwritten
       durable.py full URL             the file system below the LUN is full after some of its blocks

sync: traces the system calls of PID while commands are sent one by one. Before the GOOD of a command that promises it
(FUA, SYNCHRONIZE CACHE, WRITE AND VERIFY; every one that changes blocks if the caching page says WCE 0), an fdatasync
must have returned that began after the last write. Without such a promise a WRITE must not wait for one. With IMMED the
answer may come first; the fdatasync must have returned soon after.
full: writes until the disk is full and beyond. Each write that fails is told in its own sense, no later command is,
and every write that was good is there.
"""
import re
import signal
import struct
import subprocess
import sys
import time

import wire

TRACED = 'pwrite64,pwritev,pwritev2,fallocate,fdatasync,fsync'
SPACE_ALLOCATION_FAILED = (7, 0x27, 7)
SOON = 1.0   # seconds


def sized(opcode, flags, lba, blocks):
    """a CDB of the form that the operation code has"""
    layout = {0: '>BBHBB', 1: '>BBIBHB', 2: '>BBIBHB', 4: '>BBQIBB', 5: '>BBIIBB'}[opcode >> 5]
    numbers = {0: (lba, blocks, 0), 1: (lba, 0, blocks, 0), 2: (lba, 0, blocks, 0)}.get(opcode >> 5, (lba, blocks, 0, 0))
    return struct.pack(layout, opcode, flags, *numbers)


def commands(block):
    """name, CDB, data-out, whether it promises to be durable (or to be SOON), whether it changes blocks"""
    ones, unmap = b'\1' * block, struct.pack('>HHIQII', 22, 16, 0, 64, 8, 0)
    return [
        ('WRITE (6)', sized(0x0a, 0, 8, 1), ones, False, True),
        ('WRITE (10)', sized(0x2a, 0, 8, 1), ones, False, True),
        ('WRITE (10) with FUA', sized(0x2a, 8, 8, 1), ones, True, True),
        ('WRITE (12)', sized(0xaa, 0, 8, 1), ones, False, True),
        ('WRITE (12) with FUA', sized(0xaa, 8, 8, 1), ones, True, True),
        ('WRITE (16)', sized(0x8a, 0, 8, 1), ones, False, True),
        ('WRITE (16) with FUA', sized(0x8a, 8, 8, 1), ones, True, True),
        ('WRITE AND VERIFY (10)', sized(0x2e, 0, 8, 1), ones, True, True),
        ('WRITE AND VERIFY (12) with BYTCHK', sized(0xae, 2, 8, 1), ones, True, True),
        ('WRITE AND VERIFY (16) with BYTCHK', sized(0x8e, 2, 8, 1), ones, True, True),
        ('SYNCHRONIZE CACHE (10)', sized(0x35, 0, 0, 0), b'', True, False),
        ('SYNCHRONIZE CACHE (10) with IMMED', sized(0x35, 2, 0, 0), b'', SOON, False),
        ('SYNCHRONIZE CACHE (16)', sized(0x91, 0, 0, 0), b'', True, False),
        ('WRITE SAME (10)', sized(0x41, 0, 16, 8), ones, False, True),
        ('WRITE SAME (16) with UNMAP and NDOB', sized(0x93, 9, 64, 8), b'', False, True),
        ('COMPARE AND WRITE', struct.pack('>BBQ3xBBB', 0x89, 0, 8, 1, 0, 0), ones * 2, False, True),
        ('COMPARE AND WRITE with FUA', struct.pack('>BBQ3xBBB', 0x89, 8, 8, 1, 0, 0), ones * 2, True, True),
        ('UNMAP', struct.pack('>BB5xHB', 0x42, 0, len(unmap), 0), unmap, False, True),
        ('START STOP UNIT, stop', b'\x1b\0\0\0\0\0', b'', True, False),
        ('START STOP UNIT, start', b'\x1b\0\0\0\1\0', b'', False, False),
    ]


def opened(url):
    address, iqn, lun = wire.split_url(url)
    connection = wire.Connection(address, 20)
    assert connection.login(iqn) == 0
    connection.ready(lun)
    return connection, lun


class Trace:
    """strace beside the target; afterwards the calls that ended well, as (name, begin, end)"""

    def __init__(self, pid, path):
        self.path = path
        self.process = subprocess.Popen(['strace', '-f', '-ttt', '-T', '-e', 'trace=' + TRACED, '-o', path, '-p', str(pid)],
                                        stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
        line = self.process.stderr.readline().decode()
        assert 'attached' in line, 'strace does not work here: ' + line

    def calls(self):
        self.process.send_signal(signal.SIGINT)
        self.process.wait()
        found = re.compile(r'^\d+ +([\d.]+) (?:<\.\.\. )?(\w+)(\(| resumed).*= (-?\d+)[^<]*<([\d.]+)>$')
        with open(self.path) as lines:
            for line in filter(None, map(found.match, lines)):
                stamp, name, form, result, took = line.groups()
                # A call that waited is in two lines, of which the second has the time of its end.
                end = float(stamp) if form == ' resumed' else float(stamp) + float(took)
                if int(result) >= 0:
                    yield name, end - float(took), end


def is_durable(calls, begin, end):
    """whether a sync lies between these times that began after the last write"""
    within = [call for call in calls if begin <= call[1] and call[2] <= end]
    writes = [call[2] for call in within if call[0] not in ('fdatasync', 'fsync')]
    syncs = [call[1] for call in within if call[0] in ('fdatasync', 'fsync')]
    return bool(syncs) and max(syncs) >= max(writes, default=0)


def sync(url, pid, path):
    connection, lun = opened(url)
    block = struct.unpack_from('>I', connection.command(b'\x25' + bytes(9), read=8, lun=lun)[2], 4)[0]
    page = connection.command(b'\x1a\x08\x08\0\x40\0', read=64, lun=lun)[2]
    write_cache = bool(page[4 + 2] & 4)
    trace, done = Trace(pid, path), []
    for name, cdb, data, promised, changes in commands(block):
        begin = time.time()
        status, sense, _ = connection.command(cdb, data=data, lun=lun)
        if promised is SOON:
            time.sleep(SOON)
        done.append((name, begin, time.time(), bool(promised) or (changes and not write_cache)))
        assert status == 0, '%s: %s' % (name, sense)
    calls, bad = list(trace.calls()), 0
    for name, begin, end, wanted in done:
        durable = is_durable(calls, begin, end)
        if durable != wanted:
            bad += 1
            print('%s with WCE %d: %s' % (name, write_cache, 'is not durable' if wanted else 'waits for a sync in vain'))
    print('%d commands on blocks of %d with WCE %d, %d wrong' % (len(done), block, write_cache, bad))
    return 1 if bad else 0


def full(url):
    connection, lun = opened(url)
    chunk, good, refused = 512 * 1024, [], 0
    for number in range(connection.blocks(lun) * 512 // chunk):
        content = struct.pack('>I', number + 1) * (chunk // 4)
        status, sense, _ = connection.write(number * chunk // 512, content, lun)
        if status == 0:
            good.append((number, content))
        else:
            assert sense == SPACE_ALLOCATION_FAILED, sense
            refused += 1
            assert connection.command(bytes(6), lun=lun)[0] == 0, 'the failure is told a second time'
            assert connection.command(b'\3\0\0\0\x12\0', read=18, lun=lun)[2][2] & 15 == 0, 'and a third time'
    assert good and refused, '%d good, %d refused' % (len(good), refused)
    assert connection.command(b'\x35' + bytes(9), lun=lun)[0] == 0, 'what was acknowledged cannot be flushed'
    other = opened(url)[0]
    for number, content in good:
        assert other.read_blocks(number * chunk // 512, chunk // 512, lun)[2] == content, 'write %d is lost' % number
    print('%d writes good and there, %d refused, each once' % (len(good), refused))
    return 0


if __name__ == '__main__':
    match sys.argv[1:]:
        case ['sync', url, pid, path]:
            sys.exit(sync(url, int(pid), path))
        case ['full', url]:
            sys.exit(full(url))
        case _:
            sys.exit(__doc__)
