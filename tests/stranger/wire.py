"""A few iSCSI PDUs by hand (RFC 7143 section 11), enough for a test to say what no decent initiator would.

No digests, one connection, and no check of what is sent: that is the point. Numbers are plain integers.
"""
import socket
import struct

NOP_OUT, SCSI_COMMAND, TASK_MANAGEMENT, LOGIN, TEXT, DATA_OUT, LOGOUT, SNACK = 0, 1, 2, 3, 4, 5, 6, 0x10
NOP_IN, SCSI_RESPONSE, TASK_RESPONSE, LOGIN_RESPONSE, TEXT_RESPONSE, DATA_IN = 0x20, 0x21, 0x22, 0x23, 0x24, 0x25
LOGOUT_RESPONSE, R2T, ASYNC, REJECT = 0x26, 0x31, 0x32, 0x3f
IMMEDIATE, FINAL = 0x40, 0x80
NO_TAG = 0xffffffff
INITIATOR_NAME = 'iqn.2026-01.test:stranger'


class Closed(Exception):
    """the other side ended the connection"""


class Silence(Exception):
    """nothing came within the time that was given"""


class Pdu:
    def __init__(self, header, data):
        self.header, self.data = header, data
        self.opcode, self.flags = header[0] & 0x3f, header[1]

    def word(self, offset):
        return struct.unpack_from('>I', self.header, offset)[0]


def header(opcode, flags=FINAL, data_length=0, specific=b'', lun=0, itt=0, words=(), ahs_words=0, byte2=0, byte3=0):
    """48 bytes; `words` go to offset 20 and on; `specific`, if given, replaces what begins at offset 8"""
    head = struct.pack('>BBBBB', opcode, flags, byte2, byte3, ahs_words) + data_length.to_bytes(3, 'big')
    body = specific or struct.pack('>HHIII', lun, 0, 0, itt, *words[:1] or (0,)) + b''.join(
        struct.pack('>I', word) for word in words[1:])
    return (head + body).ljust(48, b'\0')


def padded(data):
    return data + bytes(-len(data) % 4)


def keys(*pairs):
    return b''.join(pair.encode() + b'\0' for pair in pairs)


class Connection:
    def __init__(self, address, seconds=10):
        host, port = address.rsplit(':', 1)
        self.socket = socket.create_connection((host.strip('[]'), int(port)), timeout=seconds)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.seconds, self.buffer = seconds, b''
        self.cmd_sn, self.exp_stat_sn, self.next_tag = 1, 0, 1
        self.logout_requested = False

    def close(self):
        self.socket.close()

    def send(self, content):
        try:
            self.socket.sendall(content)
        except socket.timeout:
            raise Silence() from None
        except OSError:
            raise Closed() from None

    def read(self, count):
        while len(self.buffer) < count:
            try:
                more = self.socket.recv(1 << 18)
            except socket.timeout:
                raise Silence() from None
            except OSError:
                raise Closed() from None
            if not more:
                raise Closed()
            self.buffer += more
        taken, self.buffer = self.buffer[:count], self.buffer[count:]
        return taken

    def receive(self):
        """the next PDU; keeps the numbers that the next request needs"""
        head = self.read(48)
        length = int.from_bytes(head[5:8], 'big')
        self.read(head[4] * 4)
        pdu = Pdu(head, self.read((length + 3) // 4 * 4)[:length])
        carries_status = pdu.opcode not in (R2T, DATA_IN) or (pdu.opcode == DATA_IN and pdu.flags & 1)
        if carries_status and not (pdu.opcode == NOP_IN and pdu.word(16) == NO_TAG):
            self.exp_stat_sn = (pdu.word(24) + 1) & 0xffffffff
        self.logout_requested |= pdu.opcode == ASYNC and pdu.header[36] == 1      # section 11.9.1
        return pdu

    def tag(self):
        self.next_tag += 1
        return self.next_tag

    # --- login -------------------------------------------------------------------------------------------------------

    def login_request(self, text, flags=FINAL | 1 << 2 | 3, tsih=0, version=0, isid=b'\x80\x12\x34\0\0\1', **more):
        specific = isid + struct.pack('>HIHHII', tsih, 0x4c4f474e, 0, 0, self.cmd_sn, self.exp_stat_sn)
        more.setdefault('data_length', len(text))
        return header(LOGIN | IMMEDIATE, flags, specific=specific, byte2=version, byte3=version, **more) + padded(text)

    def login(self, target, *more, name=INITIATOR_NAME, isid=b'\x80\x12\x34\0\0\1'):
        """straight to full feature phase; returns the status class and detail as one number"""
        text = keys('InitiatorName=' + name, 'TargetName=' + target, 'SessionType=Normal', 'HeaderDigest=None',
                    'DataDigest=None', 'InitialR2T=Yes', 'ImmediateData=Yes', 'ErrorRecoveryLevel=0', *more)
        self.send(self.login_request(text, isid=isid))
        answer = self.receive()
        status = struct.unpack_from('>H', answer.header, 36)[0]
        if status == 0 and answer.flags & 0x83 != 0x83:
            raise AssertionError('the target did not go to full feature phase at once')
        return status

    # --- full feature phase ----------------------------------------------------------------------------------------------

    def request(self, opcode, flags=FINAL, words=(0,), data=b'', immediate=False, lun=0, **more):
        """sends a numbered request whose words from offset 20 are words[0], CmdSN, ExpStatSN, words[1:]; returns its tag"""
        itt = self.tag()
        numbers = (words[0], self.cmd_sn, self.exp_stat_sn, *words[1:])
        more.setdefault('data_length', len(data))
        self.send(header(opcode | (IMMEDIATE if immediate else 0), flags, lun=lun, itt=itt, words=numbers, **more)
                  + padded(data))
        if not immediate:
            self.cmd_sn = (self.cmd_sn + 1) & 0xffffffff
        return itt

    def scsi(self, cdb, read=0, data=b'', lun=0):
        """sends a SCSI command with its data as immediate data or at each R2T, as the target asks; returns its tag"""
        cdb = cdb.ljust(16, b'\0')
        cdb_words = struct.unpack('>IIII', cdb)
        flags = FINAL | (0x40 if read else 0) | (0x20 if data else 0) | 1
        return self.request(SCSI_COMMAND, flags, (read or len(data), *cdb_words), lun=lun)

    def command(self, cdb, read=0, data=b'', lun=0):
        """one SCSI command from end to end: (status, sense key/ASC/ASCQ or None, data read)"""
        tag = self.scsi(cdb, read, data, lun)
        content = bytearray(read)
        while True:
            pdu = self.receive()
            if pdu.opcode == NOP_IN and pdu.word(16) == NO_TAG:
                self.answer_ping(pdu)
            elif pdu.opcode == R2T and pdu.word(16) == tag:
                self.data_out(tag, pdu, data)
            elif pdu.opcode == DATA_IN and pdu.word(16) == tag:
                content[pdu.word(40):pdu.word(40) + len(pdu.data)] = pdu.data
                if pdu.flags & 1:
                    return pdu.header[3], None, bytes(content)
            elif pdu.opcode == SCSI_RESPONSE and pdu.word(16) == tag:
                sense = pdu.data[2:]
                return pdu.header[3], (sense[2] & 15, sense[12], sense[13]) if len(sense) > 13 else None, bytes(content)
            elif pdu.opcode != ASYNC:
                raise AssertionError('opcode %#x while a command was under way' % pdu.opcode)

    def data_out(self, tag, r2t, data):
        """what the R2T asks for, in segments of 8192 bytes (the default MaxRecvDataSegmentLength)"""
        offset, end, number = r2t.word(40), r2t.word(40) + r2t.word(44), 0
        while offset < end:
            part = data[offset:min(end, offset + 8192)]
            last = FINAL if offset + len(part) == end else 0
            self.send(header(DATA_OUT, last, data_length=len(part), specific=r2t.header[8:16] + struct.pack(
                '>IIIIIIII', tag, r2t.word(20), 0, self.exp_stat_sn, 0, number, offset, 0)) + padded(part))
            offset, number = offset + len(part), number + 1

    def answer_ping(self, nop_in):
        self.send(header(NOP_OUT | IMMEDIATE, specific=nop_in.header[8:16] + struct.pack(
            '>IIII', NO_TAG, nop_in.word(20), self.cmd_sn, self.exp_stat_sn)))

    def ping(self, content=b'are you there?'):
        """a NOP-Out whose echo must come back (section 11.18)"""
        tag = self.request(NOP_OUT, words=(NO_TAG,), data=content, immediate=True)
        while True:
            pdu = self.receive()
            if pdu.opcode == NOP_IN and pdu.word(16) == tag:
                return pdu.data == content
            if pdu.opcode == NOP_IN:
                self.answer_ping(pdu)

    def logout(self):
        self.request(LOGOUT, FINAL, immediate=True)
        while self.receive().opcode != LOGOUT_RESPONSE:
            pass
        self.close()

    # --- disk ----------------------------------------------------------------------------------------------------------------

    def ready(self, lun=0):
        """until no unit attention is left"""
        for _ in range(8):
            if self.command(bytes(6), lun=lun)[0] == 0:
                return
        raise AssertionError('TEST UNIT READY never succeeds')

    def write(self, lba, data, lun=0):
        return self.command(struct.pack('>BBQIBB', 0x8a, 0, lba, len(data) // 512, 0, 0), data=data, lun=lun)

    def read_blocks(self, lba, count, lun=0):
        return self.command(struct.pack('>BBQIBB', 0x88, 0, lba, count, 0, 0), read=count * 512, lun=lun)

    def blocks(self, lun=0):
        """capacity in blocks, by READ CAPACITY (16)"""
        return struct.unpack_from('>Q', self.command(b'\x9e\x10' + bytes(11) + b'\x20', read=32, lun=lun)[2])[0] + 1


def split_url(url):
    """(host:port, iqn, lun) of iscsi://host:port/iqn/lun"""
    address, iqn, lun = url[len('iscsi://'):].split('/')
    return address, iqn, int(lun)
