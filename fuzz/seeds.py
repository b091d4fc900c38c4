#!/usr/bin/env python3
"""Cuts the seeds of the fuzz targets from the captures in tests/captures, and writes them to fuzz/corpus.

usage: seeds.py

What is already there stays. Names begin with "seed-".
"""
import json
import os

HERE = os.path.dirname(os.path.abspath(__file__))
CAPTURES = os.path.join(HERE, '..', 'tests', 'captures')
STREAM_BYTES_MAX = 4096


def write(target, name, data):
    folder = os.path.join(HERE, 'corpus', target)
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, 'seed-' + name), 'wb') as file:
        file.write(data)


def pdus(name):
    """(line, bytes) of each PDU of a capture"""
    with open(os.path.join(CAPTURES, name + '.bin'), 'rb') as file:
        data = file.read()
    with open(os.path.join(CAPTURES, name + '.jsonl')) as file:
        for line in map(json.loads, file):
            yield line, data[line['offset']:line['offset'] + line['length']]


def streams(name):
    """{(connection, from): the first PDUs of the stream}; a PDU with much data is left out"""
    result = {}
    for line, data in pdus(name):
        stream = result.setdefault((line['connection'], line['from']), b'')
        if len(stream) + len(data) <= STREAM_BYTES_MAX:
            result[line['connection'], line['from']] = stream + data
    return result


def main():
    kinds = set()
    for line, data in pdus('tgt-session'):
        if line['opcode'] not in kinds and len(data) <= 1024:
            kinds.add(line['opcode'])
            write('pdu', '%02x' % line['opcode'], data)
        if line['opcode'] in (3, 4, 0x23, 0x24) and 'keys' in line:
            write('text', '%d' % line['frame'], b'\x20' + data[48:48 + line['datasegmentlength']])
        # A SCSI Command's CDB is a command of the first nexus to LUN 0.
        if line['opcode'] == 1:
            write('cdb', data[32:48].hex()[:4], b'\xe0' + data[32:48])
    for (connection, end), stream in streams('tgt-session').items():
        target = 'target' if end == 'initiator' else 'initiator'
        write(target, 'session-%d' % connection, (b'\x00' if target == 'target' else b'') + stream)
    for (connection, end), stream in streams('tgt-chap').items():
        if end == 'initiator':
            write('target', 'chap-%d' % connection, b'\x01' + stream)
    # Options: which digests, and the longest segment; then the cuts.
    for name, options in (('tgt-session', 0x0c), ('tgt-hdigest', 0x0d), ('tgt-digest', 0x0f)):
        for (connection, end), stream in streams(name).items():
            write('framer', '%s-%s-%d' % (name, end, connection), bytes([options, 3, 1, 50, 7]) + stream)


main()
