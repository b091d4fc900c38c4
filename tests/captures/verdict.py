#!/usr/bin/env python3
"""Whether an independent decoder is content with a capture of iSCSI.

usage: verdict.py CAPTURE.pcapng --port PORT [--pdus N] [--header-digests N] [--data-digests N]

Ends with 1 when tshark finds a malformed packet, an error, an opcode or text key that it does not know, or a digest
that is wrong; when the capture lacks packets; or when it holds fewer PDUs or digests than asked for.

One complaint is not ours: tshark calls an INQUIRY's data malformed when the allocation length cuts a VPD page.
"""
import argparse
import re
import subprocess
import sys
import xml.etree.ElementTree as ET

ERROR = 0x800000     # tshark's severity "error"


def tshark(args, *more):
    argv = ['tshark', '-r', args.capture, '-d', 'tcp.port==%d,iscsi' % args.port, *more]
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if done.returncode:
        raise SystemExit(done.stderr.decode('utf-8', 'replace'))
    return done.stdout.decode('utf-8', 'replace')


def is_cut_inquiry(packet):
    blamed = [p.get('showname') for p in packet.iter('proto') if p.get('name') == '_ws.malformed' and p.get('showname')]
    inquiry = any('Inquiry Response Data' in (p.get('showname') or '') for p in packet.iter('proto'))
    return inquiry and set(blamed) <= {'[Malformed Packet: SCSI]', 'Malformed Packet'}


def complaints(args):
    wanted = '_ws.malformed || _ws.expert.severity >= %d || iscsi.opcode.invalid || iscsi.keyvalue.invalid' % ERROR
    for packet in ET.fromstring(tshark(args, '-Y', wanted, '-T', 'pdml')).iter('packet'):
        if is_cut_inquiry(packet):
            continue
        number = next(f.get('show') for f in packet.iter('field') if f.get('name') == 'num')
        what = [f.get('showname') for f in packet.iter('field') if f.get('name') == '_ws.expert']
        yield 'frame %s: %s' % (number, '; '.join(filter(None, what)) or 'an opcode or key that is not known')


def main():
    ap = argparse.ArgumentParser(usage=__doc__)
    ap.add_argument('capture')
    ap.add_argument('--port', type=int, required=True)
    ap.add_argument('--pdus', type=int, default=1)
    ap.add_argument('--header-digests', type=int, default=0)
    ap.add_argument('--data-digests', type=int, default=0)
    args = ap.parse_args()

    problems = list(complaints(args))
    if tshark(args, '-Y', 'tcp.analysis.lost_segment || tcp.analysis.ack_lost_segment').strip():
        problems.append('the capture lacks packets: it proves nothing')
    text = tshark(args, '-Y', 'iscsi', '-O', 'iscsi')
    problems += ['digest: ' + line for line in re.findall(r'(?:Header|Data)Digest: 0x.*\(Bad.*', text)]
    for what, least, found in (
            ('PDUs', args.pdus, len(re.findall(r'^iSCSI \(', text, re.M))),
            ('good header digests', args.header_digests, len(re.findall(r'HeaderDigest: 0x\w+ \(Good', text))),
            ('good data digests', args.data_digests, len(re.findall(r'DataDigest: 0x\w+ \(Good', text)))):
        print('%s: %d' % (what, found))
        if found < least:
            problems.append('%d %s, and at least %d were to be seen' % (found, what, least))
    print('\n'.join(problems))
    return 1 if problems else 0


if __name__ == '__main__':
    sys.exit(main())
