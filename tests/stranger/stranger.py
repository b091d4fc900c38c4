#!/usr/bin/env python3
"""What a stranger may say to the target, and what it may cost.

usage: stranger.py URL PID [--login-seconds S] [--connections N] [--seed N] [--only PATTERN]

URL    iscsi://host:port/iqn/lun of a target that this run may overwrite; PID its process
  --login-seconds S  a connection that does not log in must be closed by then [45]
  --connections N    for the flood [10000]; each needs a descriptor here and in the target
  --only PATTERN     runs the trials whose name contains it

Every trial says what it sends, what may come back, and the clause that says so. After each one a session that has
been there from the start must still write, read back and answer a ping within seconds, and the target's resident
memory must not have grown by more than the trial's allowance. What came back is written as
  closed          the connection ended without an answer        reject(R)   a Reject with that reason (section 11.17.1)
  silent          nothing came, and the connection works on      login(SSSS) a Login Response with that status class and
  status(K/A/Q)   CHECK CONDITION with that sense                            detail (section 11.13.5), then the end
  answer(OP)      any other PDU, by its opcode
"""
import argparse
import os
import random
import resource
import struct
import sys
import threading
import time

import wire
from wire import FINAL, IMMEDIATE, NO_TAG, Closed, Connection, Silence, header, keys, padded

MIB = 1 << 20
LONGEST_SEGMENT = (1 << 24) - 1


# --- what came back ----------------------------------------------------------------------------------------------------

def described(pdu):
    if pdu.opcode == wire.LOGIN_RESPONSE:
        return 'login(%04x)' % struct.unpack_from('>H', pdu.header, 36)[0]
    if pdu.opcode == wire.REJECT:
        return 'reject(%d)' % pdu.header[2]
    if pdu.opcode == wire.SCSI_RESPONSE and pdu.header[3] == 2 and len(pdu.data) > 15:
        return 'status(%02x/%02x/%02x)' % (pdu.data[4] & 15, pdu.data[14], pdu.data[15])
    return 'answer(%02x)' % pdu.opcode


def ends(connection):
    """whether the other side ends the connection within its time"""
    try:
        while True:
            connection.receive()
    except Closed:
        return True
    except Silence:
        return False


def outcome(connection, action):
    """does `action`, and says what comes back; a refused login must be followed by the end (section 11.13.5)"""
    try:
        action(connection)
        pdu = connection.receive()
        while pdu.opcode in (wire.NOP_IN, wire.ASYNC) and pdu.word(16) == NO_TAG:
            pdu = connection.receive()
        result = described(pdu)
        if result.startswith('login(') and result != 'login(0000)' and not ends(connection):
            return result + ' and then stays open'
        return result
    except Closed:
        return 'closed'
    except Silence:
        try:
            return 'silent' if connection.ping() else 'a ping that is not echoed'
        except (Closed, Silence):
            return 'hangs'


# --- trials before and during login ------------------------------------------------------------------------------------

def first_pdu(opcode):
    return lambda c, target: c.send(header(opcode | IMMEDIATE, itt=1, words=(NO_TAG, 1, 1)))


def garbage(c, target):
    c.send(b'\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03' + random.randbytes(4096))   # begins like TLS


def zeros(c, target):
    c.send(bytes(4800))


def http(c, target):
    c.send(b'GET / HTTP/1.1\r\nHost: target\r\n\r\n' * 4)


def log_in_with(*pairs, **fields):
    def action(c, target):
        text = keys(*(pair.replace('TARGET', target) for pair in pairs))
        c.send(c.login_request(text, **fields))
    return action


NAMES = ('InitiatorName=' + wire.INITIATOR_NAME, 'TargetName=TARGET', 'SessionType=Normal')


def text_without_equals_sign(c, target):
    c.send(c.login_request(keys(*(name.replace('TARGET', target) for name in NAMES)) + b'\0\0\0no sense at all'))


def login_of_16_mib(c, target):
    c.send(c.login_request(b'', data_length=LONGEST_SEGMENT))
    for _ in range(16):
        c.send(bytes(MIB))


def login_ahs_overruns(c, target):
    text = keys(*(name.replace('TARGET', target) for name in NAMES))
    request = c.login_request(text, ahs_words=2)
    c.send(request[:48] + b'\x7f\xff\1\0' + bytes(4) + request[48:])     # its own length reaches far past its words


def key_of_64_kib(c, target):
    """one key, 64 KiB long, in Login Requests that say that more follows (C bit)"""
    text = keys('InitiatorName=' + wire.INITIATOR_NAME) + b'X' * 65536
    for at in range(0, len(text), 8192):
        c.send(c.login_request(text[at:at + 8192], flags=1 << 6 | 1 << 2))
        pdu = c.receive()
        if described(pdu) != 'login(0000)':
            c.buffer = pdu.header + padded(pdu.data) + c.buffer       # for outcome() to describe
            return


def login_that_always_continues(c, target):
    """C bit for ever, as fast as the target answers; it must give up long before this does"""
    for _ in range(4096):
        c.send(c.login_request(b'X-%s=' % (b'y' * 4000), flags=1 << 6 | 1 << 2))
        pdu = c.receive()
        if described(pdu) != 'login(0000)':
            c.buffer = pdu.header + padded(pdu.data) + c.buffer
            return
    raise AssertionError('16 MiB of one negotiation were accepted')


def scsi_command_during_login(c, target):
    c.send(c.login_request(keys(*(name.replace('TARGET', target) for name in NAMES)), flags=1 << 2))
    c.receive()
    c.send(header(wire.SCSI_COMMAND, FINAL | 1, itt=9, words=(0, 1, 1)))


REFUSED = {'closed'} | {'login(02%02x)' % detail for detail in range(12)}

LOGIN_TRIALS = [
    # name, clause, what may come back, what is sent
    ('garbage', '4.2.4', {'closed'}, garbage),
    ('zeros, which are NOP-Outs', '4.2.4', {'closed'}, zeros),
    ('an HTTP request', '4.2.4', {'closed'}, http),
    ('NOP-Out as the first PDU', '4.2.4', {'closed'}, first_pdu(wire.NOP_OUT)),
    ('SCSI Command as the first PDU', '4.2.4', {'closed'}, first_pdu(wire.SCSI_COMMAND)),
    ('Text as the first PDU', '4.2.4', {'closed'}, first_pdu(wire.TEXT)),
    ('Logout as the first PDU', '4.2.4', {'closed'}, first_pdu(wire.LOGOUT)),
    ('Login Response as the first PDU', '4.2.4', {'closed'}, first_pdu(wire.LOGIN_RESPONSE)),
    ('SCSI Command during login', '4.2.4', {'login(020b)'}, scsi_command_during_login),
    ('a version that nobody speaks', '11.13.5', {'login(0205)'}, log_in_with(*NAMES, version=0x7f)),
    ('no InitiatorName', '6.3, 11.13.5', {'login(0207)'}, log_in_with(*NAMES[1:])),
    ('no TargetName', '6.3, 11.13.5', {'login(0207)'}, log_in_with(NAMES[0], NAMES[2])),
    ('a target that is not there', '11.13.5', {'login(0203)'},
     log_in_with(NAMES[0], 'TargetName=iqn.1999-01.test.none:none', NAMES[2])),
    ('a session that is not there', '11.13.5', {'login(020a)'}, log_in_with(*NAMES[:2], tsih=0x7777)),
    ('an unknown kind of session', '13.21, 11.13.5', {'login(0209)', 'login(0200)'},
     log_in_with(*NAMES[:2], 'SessionType=Odd')),
    ('a key twice', '6.3', {'login(0200)'}, log_in_with(*NAMES, 'MaxBurstLength=65536', 'MaxBurstLength=65536')),
    ('a number out of its range', '6.2', REFUSED | {'login(0000)'}, log_in_with(*NAMES, 'MaxConnections=99999999999')),
    ('text without an equals sign', '6.1', REFUSED, text_without_equals_sign),
    ('T and C at once', '6.2, 11.12.3', REFUSED, log_in_with(*NAMES, flags=FINAL | 1 << 6 | 1 << 2 | 3)),
    ('a stage that does not exist', '11.12.4', REFUSED, log_in_with(*NAMES, flags=FINAL | 2 << 2 | 3)),
    ('the full feature phase as the current stage', '11.12.4', REFUSED, log_in_with(*NAMES, flags=FINAL | 3 << 2 | 3)),
    ('a login segment of 16 MiB', '13.12', REFUSED, login_of_16_mib),
    ('a login whose AHS overruns', '11.2.2, 7.7', REFUSED, login_ahs_overruns),
    ('a text key of 64 KiB', '6.1', REFUSED | {'login(0302)'}, key_of_64_kib),
    ('a login that always continues', '6.2', REFUSED | {'login(0302)'}, login_that_always_continues),
]


# --- trials in a session -----------------------------------------------------------------------------------------------

def segment_of_16_mib(c, lun):
    c.request(wire.SCSI_COMMAND, FINAL | 0x21, (LONGEST_SEGMENT,), lun=lun, data_length=LONGEST_SEGMENT)
    for _ in range(16):
        c.send(bytes(MIB))


def ahs_overruns(c, lun):
    c.request(wire.SCSI_COMMAND, FINAL | 1, (0,), lun=lun, ahs_words=1)
    c.send(b'\x7f\xff\1\0')


def text_key_of_64_kib(c, lun):
    """in Text Requests that say that more follows; the target names a Target Transfer Tag to go on with"""
    text, ttt = b'X' * 65536 + b'=1\0', NO_TAG
    tag = c.tag()
    for at in range(0, len(text), 8192):
        part = text[at:at + 8192]
        more = at + 8192 < len(text)
        c.send(header(wire.TEXT | IMMEDIATE, 1 << 6 if more else FINAL, data_length=len(part), itt=tag,
                      words=(ttt, c.cmd_sn, c.exp_stat_sn)) + padded(part))
        if more:
            pdu = c.receive()
            if pdu.opcode != wire.TEXT_RESPONSE:
                c.buffer = pdu.header + padded(pdu.data) + c.buffer
                return
            ttt = pdu.word(20)


def outside_the_window(c, lun):
    c.cmd_sn = (c.cmd_sn + 100000) & 0xffffffff
    c.scsi(bytes(6), lun=lun)
    c.cmd_sn = (c.cmd_sn - 100001) & 0xffffffff


def data_out_for_nothing(c, lun):
    c.send(header(wire.DATA_OUT, data_length=512, lun=lun, itt=0x0badf00d, words=(0x77777777, 0, c.exp_stat_sn)) + bytes(512))


def requests(opcode, flags=FINAL, words=(0,), **more):
    return lambda c, lun: c.request(opcode, flags, words, lun=lun, **more)


def scsi(cdb, read=0, lun=None):
    return lambda c, own: c.scsi(cdb, read, lun=own if lun is None else lun)


READ_FAR = struct.pack('>BBQIBB', 0x88, 0, 1 << 50, 8, 0, 0)
READ_WRAPS = struct.pack('>BBQIBB', 0x88, 0, (1 << 64) - 4, 8, 0, 0)
FORMAT_ERROR = {'closed', 'reject(4)', 'reject(9)'}

SESSION_TRIALS = [
    ('an opcode that does not exist', '11.17.1', {'reject(5)', 'closed'}, requests(0x1f, immediate=True)),
    ('a PDU that only targets send', '11.17.1', {'reject(4)', 'reject(5)', 'reject(9)', 'closed'}, requests(wire.DATA_IN)),
    ('a second login', '4.2.4', {'reject(4)', 'reject(5)', 'reject(9)', 'closed'}, requests(wire.LOGIN, 0x87, immediate=True)),
    ('a segment of 16 MiB', '13.12, 7.7', FORMAT_ERROR, segment_of_16_mib),
    ('an AHS that overruns', '11.2.2, 7.7', FORMAT_ERROR, ahs_overruns),
    ('a text key of 64 KiB', '6.1', FORMAT_ERROR | {'reject(10)', 'reject(12)', 'answer(24)'}, text_key_of_64_kib),
    ('a CmdSN outside the window', '4.2.2.1', {'silent'}, outside_the_window),
    ('Data-Out for no task', '11.7, 7.13', FORMAT_ERROR | {'silent'}, data_out_for_nothing),
    ('SNACK at ErrorRecoveryLevel 0', '11.16', {'reject(3)', 'reject(4)', 'reject(5)', 'closed'},
     requests(wire.SNACK, FINAL, (NO_TAG,))),
    ('a task management function that does not exist', '11.6.1', FORMAT_ERROR | {'answer(22)'},
     requests(wire.TASK_MANAGEMENT, FINAL | 0x7f, (NO_TAG,), immediate=True)),
    ('a CDB past the end of the medium', 'SBC-4 5', {'status(05/21/00)'}, scsi(READ_FAR, 4096)),
    ('a CDB whose end wraps round', 'SBC-4 5', {'status(05/21/00)'}, scsi(READ_WRAPS, 4096)),
    ('an operation code that does not exist', 'SPC-5 4.5', {'status(05/20/00)'}, scsi(b'\xff', 512)),
    ('a logical unit that is not there', 'SPC-5 4.5', {'status(05/25/00)'}, scsi(bytes(6), lun=77)),
]


# --- what must hold meanwhile ------------------------------------------------------------------------------------------

class Witness:
    """a session that was there first, and the target's memory"""

    def __init__(self, address, iqn, lun, pid):
        self.lun, self.pid, self.count = lun, pid, 0
        self.connection = Connection(address, seconds=20)
        assert self.connection.login(iqn, name=wire.INITIATOR_NAME + '-witness', isid=b'\x80\x12\x34\0\0\2') == 0
        self.connection.ready(lun)
        self.check()
        self.resident = self.resident_now()

    def alive(self):
        try:
            with open('/proc/%d/status' % self.pid) as f:
                return not any(line.startswith('State:\tZ') for line in f)
        except FileNotFoundError:
            return False

    def resident_now(self):
        assert self.alive(), 'the target is dead'
        with open('/proc/%d/status' % self.pid) as f:
            return next(int(line.split()[1]) * 1024 for line in f if line.startswith('VmRSS:'))

    def grown(self):
        return self.resident_now() - self.resident

    def check(self):
        """raises unless the session still does its work"""
        self.count += 1
        self.connection.ready(self.lun)
        data = struct.pack('>Q', self.count) * 1024
        assert self.connection.write(64, data, self.lun)[0] == 0, 'the witness cannot write'
        assert self.connection.read_blocks(64, 16, self.lun)[2] == data, 'the witness reads other data'
        assert self.connection.ping(), 'the witness gets no echo'

    def busy(self):
        """the share of one processor that the target takes for a second, while nobody asks for anything"""
        def used():
            with open('/proc/%d/stat' % self.pid) as f:
                fields = f.read().rsplit(') ', 1)[1].split()
            return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')
        before = used()
        time.sleep(1)
        return used() - before


class Trials:
    def __init__(self, args):
        self.address, self.iqn, self.lun = wire.split_url(args.url)
        self.args, self.good, self.bad = args, 0, 0
        self.witness = Witness(self.address, self.iqn, self.lun, args.pid)

    def report(self, name, problem, note):
        if problem:
            self.bad += 1
            print('FAIL  %s: %s' % (name, problem), flush=True)
        else:
            self.good += 1
            print('ok    %s: %s' % (name, note), flush=True)

    def judge(self, name, run, allowance=16 * MIB):
        """runs `run`, which returns (problem or None, note); then asks the witness"""
        if self.args.only not in name:
            return
        try:
            before = self.witness.resident_now()
            problem, note = run()
            self.witness.check()
            grown = self.witness.resident_now() - before
            if not problem and grown > allowance:
                problem = 'the target grew by %d MiB' % (grown // MIB)
        except (AssertionError, Closed, Silence, OSError) as e:
            problem, note = '%s: %s' % (type(e).__name__, e or 'of the witness') + self.obituary(), ''
        self.report(name, problem, note)

    def obituary(self):
        return '' if self.witness.alive() else ', and the target is dead (--seed %d)' % self.args.seed

    def one(self, clause, allowed, action, login=True, seconds=5):
        connection = Connection(self.address, seconds)
        try:
            if login:
                assert connection.login(self.iqn) == 0
                connection.ready(self.lun)
            came = outcome(connection, lambda c: action(c, self.lun if login else self.iqn))
        finally:
            connection.close()
        return (None if came in allowed else
                '%s, and RFC or T10 %s allows %s' % (came, clause, ' '.join(sorted(allowed)))), came

    def all(self):
        patient = Patient(self) if self.args.only in Patient.NAME else None
        for name, clause, allowed, action in LOGIN_TRIALS:
            self.judge('login: ' + name, lambda: self.one(clause, allowed, action, login=False))
        for name, clause, allowed, action in SESSION_TRIALS:
            self.judge('session: ' + name, lambda: self.one(clause, allowed, action))
        self.judge('32 segments of 16 MiB at once', self.many_segments, allowance=32 * MIB)
        self.judge('200 connections of noise', self.noise)
        self.judge('%d connections' % self.args.connections, self.flood, allowance=self.args.connections * 64 * 1024)
        if patient:
            self.judge(Patient.NAME, patient.result)
        if self.witness.alive():
            print('the target grew by %.1f MiB in all' % (self.witness.grown() / MIB))
        print('stranger: %d trials good, %d bad' % (self.good, self.bad))
        return 1 if self.bad or not self.good else 0

    def many_segments(self):
        """headers that announce 16 MiB, and all of it but the last octet: nobody may keep that"""
        connections = [Connection(self.address, 2) for _ in range(32)]
        for c in connections:
            try:
                c.send(c.login_request(b'', data_length=LONGEST_SEGMENT))
                for _ in range(15):
                    c.send(bytes(MIB))
            except (Closed, Silence):
                pass
        grown = self.witness.grown()
        for c in connections:
            c.close()
        return None, 'grew by %.1f MiB while they stood' % (grown / MIB)

    def noise(self):
        """logins and PDUs with some octets turned, from a seed; whatever comes back, the witness must not care

        What would rightly disturb others is left out: task management, and any operation code but TEST UNIT READY.
        """
        rng = random.Random(self.args.seed)
        for _ in range(200):
            c = Connection(self.address, 1)
            try:
                if rng.random() < 0.5:
                    assert c.login(self.iqn) == 0
                    good = header(rng.choice((0, 1, 4, 5, 6, 0x10)) | rng.choice((0, IMMEDIATE)), FINAL | rng.randrange(128),
                                  lun=self.lun, itt=5, words=(rng.choice((0, 512, NO_TAG)), c.cmd_sn, c.exp_stat_sn, 0, 0, 0, 0))
                else:
                    good = c.login_request(keys(*(n.replace('TARGET', self.iqn) for n in NAMES)))
                bad = bytearray(good)
                for _ in range(rng.randrange(1, 6)):
                    bad[rng.choice([at for at in range(len(bad)) if at != 32])] = rng.randrange(256)
                c.send(bytes(bad) * rng.randrange(1, 4))
                c.socket.shutdown(1)
                ends(c)
            except (Closed, Silence, OSError):
                pass
            c.close()
        return None, 'seed %d' % self.args.seed

    def flood(self):
        """connections that say nothing, half a header, noise, or a login that stops; then all of them leave"""
        wanted = self.args.connections
        starts = (b'', bytes(20), b'\xff' * 48, b'\x43\x87\0\0\0\0\x20\0' + bytes(40))
        opened, refused = [], 0
        began = time.monotonic()
        for number in range(wanted):
            try:
                c = Connection(self.address, 20)
                opened.append(c)
                c.send(starts[number % len(starts)])
            except (OSError, Closed):
                refused += 1
        note = '%d opened in %.1f s, %d refused' % (len(opened), time.monotonic() - began, refused)
        self.witness.check()
        busy = self.witness.busy()
        note += ', the target grew by %.1f MiB, takes %.0f%% of a processor' % (self.witness.grown() / MIB, busy * 100)
        for c in opened:
            c.close()
        again = Connection(self.address, 20)
        logged_in = again.login(self.iqn) == 0
        again.close()
        if not logged_in:
            return 'nobody can log in afterwards', note
        return ('it spins: ' + note if busy > 0.5 else None), note


class Patient:
    """connections that wait to be closed, watched from the side while the other trials run"""

    NAME = 'connections that never log in'

    def __init__(self, trials):
        self.limit = trials.args.login_seconds
        self.began = time.monotonic()
        self.closed_after = {}
        request = Connection.login_request
        cases = {
            'says nothing': lambda c: None,
            'half a header': lambda c: c.send(bytes([0x43]) + bytes(20)),
            'a header and half its text': lambda c: c.send(request(c, b'Initiator', data_length=400)[:52]),
            'a login that waits in the first stage': lambda c: c.send(request(c, keys(*(
                name.replace('TARGET', trials.iqn) for name in NAMES)), flags=1 << 2)),
            'an octet a second': lambda c: [(c.send(b'\x43'), time.sleep(1)) for _ in range(3 * self.limit)],
        }
        self.threads = [threading.Thread(target=self.watch, args=(trials.address, name, action), daemon=True)
                        for name, action in cases.items()]
        for thread in self.threads:
            thread.start()

    def watch(self, address, name, action):
        connection = Connection(address, self.limit + 5)
        try:
            action(connection)
        except (Closed, Silence):
            pass
        if ends(connection):
            self.closed_after[name] = time.monotonic() - self.began

    def result(self):
        for thread in self.threads:
            thread.join(max(0.0, self.began + self.limit + 10 - time.monotonic()))
        late = [thread for thread in self.threads if thread.is_alive()]
        kept = len(self.threads) - len(self.closed_after)
        note = ', '.join('%s: %.0f s' % item for item in self.closed_after.items())
        return ('%d connections still open after %d s (%s)' % (max(kept, len(late)), self.limit, note)
                if kept or late else None), note


def main():
    ap = argparse.ArgumentParser(usage=__doc__)
    ap.add_argument('url')
    ap.add_argument('pid', type=int)
    ap.add_argument('--login-seconds', type=int, default=45)
    ap.add_argument('--connections', type=int, default=10000)
    ap.add_argument('--seed', type=int, default=int.from_bytes(os.urandom(4), 'big'))
    ap.add_argument('--only', default='')
    args = ap.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if args.connections > hard - 200:
        args.connections = hard - 200
        print('only %d connections: this machine allows no more descriptors' % args.connections)
    return Trials(args).all()


if __name__ == '__main__':
    sys.exit(main())
