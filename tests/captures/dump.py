#!/usr/bin/env python3
"""What tshark reads in a capture of iSCSI, as committed files that a test can compare with without tshark.

usage: dump.py CAPTURE.pcapng [--port PORT] [--check]

Writes two files beside the capture:
  NAME.bin    every TCP stream of the capture, reassembled, one after another: for each connection in the order of
              its first PDU what the initiator sent, then what the target sent; digests and padding included
  NAME.jsonl  one JSON object a line, one line a PDU, in the order of NAME.bin
--check        writes nothing, and ends with 1 when the files differ from what would be written

A line's members:
  connection, from      which stream: a number from 0, "initiator" or "target"
  frame                 the capture's frame in which the PDU ends
  offset, length        its bytes in NAME.bin, digests and padding included; the lines cover the file without a gap
  header_digest, data_digest   true, false (bad), or null when the PDU carries none
  lun                   the first level of the LUN field as tshark shows it (with the addressing method), where it does
  keys                  the text keys, "Key=Value", in order, for Login and Text PDUs
  every other name      tshark's field without "iscsi.", as a number, or as hex digits when it is longer than four octets
The fields come from tshark alone; this script cuts the streams with the lengths that tshark read, and insists that
the PDUs cover each stream to its last byte.
"""
import argparse
import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ET

BYTES_FIELDS = ('isid', 'vendorspecificdata', 'asynceventdata', 'padding',
                'ahs.extended_cdb', 'ahs.unknown_blob')
DERIVED = ('request_frame', 'response_frame', 'data_in_frame', 'data_out_frame', 'time', 'keyvalue',
           'headerdigest32', 'datadigest32', 'immediatedata', 'pingdata')


def tshark(capture, port, *more):
    argv = ['tshark', '-r', capture, '-d', 'tcp.port==%d,iscsi' % port, *more]
    return subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                          check=True).stdout


def streams(capture, port):
    """{(tcp stream, from): bytes}, put together from the segments by their sequence numbers"""
    rows = tshark(capture, port, '-Y', 'tcp.len > 0', '-T', 'fields', '-e', 'tcp.stream', '-e', 'tcp.dstport',
                  '-e', 'tcp.seq', '-e', 'tcp.payload').decode().splitlines()
    segments = {}
    for row in rows:
        stream, to, seq, payload = row.split('\t')
        key = int(stream), 'initiator' if int(to) == port else 'target'
        segments.setdefault(key, []).append((int(seq), bytes.fromhex(payload)))
    result = {}
    for key, parts in segments.items():
        data = b''
        for seq, payload in sorted(parts):
            at = seq - 1                       # tshark counts from 1, after the SYN
            if at > len(data):
                raise SystemExit('%s: %s lacks the bytes from %d' % (capture, key, len(data)))
            data = data[:at] + payload
        result[key] = data
    return result


def value_of(name, field):
    value = field.get('value') or ''
    if name in BYTES_FIELDS:
        return value
    return int(value, 16) if len(value) <= 8 and value else value


def add_field(pdu, field):
    name = field.get('name')
    if name == 'scsi.lun' and field.get('size') != '0':
        pdu['lun'] = int(field.get('unmaskedvalue') or field.get('value'), 16)
    if not name.startswith('iscsi.'):
        return
    name = name[len('iscsi.'):]
    if name == 'keyvalue':
        pdu.setdefault('keys', []).append(field.get('show'))
    elif name.endswith('digest32'):
        pdu[name[:-len('digest32')] + '_digest'] = 'Good' in field.get('showname')
    elif name not in DERIVED and not name.startswith('isid.'):
        pdu[name] = value_of(name, field)


def pdus(capture, port):
    """every PDU as tshark reads it, in the capture's order; a frame may hold several, or the end of one"""
    text = tshark(capture, port, '-Y', 'iscsi', '-T', 'pdml')
    for packet in ET.fromstring(text).iter('packet'):
        pdu, info = None, {f.get('name'): f.get('show') for f in packet.iter('field')
                           if f.get('name') in ('num', 'tcp.stream', 'tcp.dstport')}
        for element in packet.iter():
            if element.tag == 'proto' and element.get('name') == 'iscsi':
                if pdu:
                    yield pdu
                pdu = {'stream': int(info['tcp.stream']),
                       'from': 'initiator' if int(info['tcp.dstport']) == port else 'target',
                       'frame': int(info['num']), 'header_digest': None, 'data_digest': None}
            elif element.tag == 'field' and pdu:
                add_field(pdu, element)
        if pdu:
            yield pdu


def length_of(pdu):
    """RFC 7143 section 11.2: header, additional headers, digest, data to a multiple of four, digest"""
    length = 48 + 4 * pdu.get('totalahslength', 0) + (4 if pdu['header_digest'] is not None else 0)
    return length + (pdu.get('datasegmentlength', 0) + 3) // 4 * 4 + (4 if pdu['data_digest'] is not None else 0)


def dump(capture, port):
    """(the bytes of NAME.bin, the lines of NAME.jsonl)"""
    data, read = streams(capture, port), list(pdus(capture, port))
    connections = list(dict.fromkeys(pdu['stream'] for pdu in read))
    binary, lines = b'', []
    for number, stream in enumerate(connections):
        for side in ('initiator', 'target'):
            start = len(binary)
            content = data.get((stream, side), b'')
            at = 0
            for pdu in read:
                if (pdu['stream'], pdu['from']) != (stream, side):
                    continue
                length = length_of(pdu)
                if content[at] & 0x3f != pdu['opcode']:
                    raise SystemExit('%s: frame %d does not begin at byte %d' % (capture, pdu['frame'], at))
                head = {'connection': number, 'from': side, 'frame': pdu['frame'], 'offset': start + at,
                        'length': length}
                lines.append(json.dumps(head | {k: v for k, v in pdu.items() if k not in ('stream', 'from', 'frame')}))
                at += length
            if at != len(content):
                raise SystemExit('%s: stream %d from the %s: %d of %d bytes are PDUs' %
                                 (capture, stream, side, at, len(content)))
            binary += content
    return binary, ('\n'.join(lines) + '\n').encode()


def main():
    ap = argparse.ArgumentParser(usage=__doc__)
    ap.add_argument('capture')
    ap.add_argument('--port', type=int, default=3261)
    ap.add_argument('--check', action='store_true')
    args = ap.parse_args()
    name = os.path.splitext(args.capture)[0]
    status = 0
    for suffix, content in zip(('.bin', '.jsonl'), dump(args.capture, args.port)):
        if not args.check:
            with open(name + suffix, 'wb') as f:
                f.write(content)
        else:
            with open(name + suffix, 'rb') as f:
                same = f.read() == content
            status |= not same
            print('%s %s' % (name + suffix, 'is what tshark reads' if same else 'DIFFERS from what tshark reads'))
    return status


if __name__ == '__main__':
    sys.exit(main())
