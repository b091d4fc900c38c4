#!/usr/bin/env python3
"""Which tests of iscsi-test-cu really run somewhere.

usage: coverage.py EXPECTED NOWHERE
  EXPECTED   the folder with the verdicts, one file a configuration of the disk
  NOWHERE    test<TAB>why it runs nowhere, # comments

Exit: 0 each test passes in at least one configuration or is in NOWHERE, and no test of NOWHERE passes; 1 otherwise.
"""
import glob
import os
import sys


def rows(path):
    with open(path) as f:
        return [line.rstrip('\n').split('\t') for line in f if line.strip() and not line.startswith('#')]


def main():
    folder, nowhere = sys.argv[1:]
    passes, all_tests = {}, set()
    for path in sorted(glob.glob(os.path.join(folder, '*.tsv'))):
        for name, verdict, *_ in rows(path):
            all_tests.add(name)
            if verdict == 'PASSED':
                passes.setdefault(name, []).append(os.path.basename(path)[:-4])
    excused = {row[0] for row in rows(nowhere)}
    missing = sorted(all_tests - set(passes) - excused)
    surplus = sorted(excused & set(passes))
    for name in missing:
        print('passes in no configuration, and is not excused: ' + name)
    for name in surplus:
        print('is excused, but passes (%s): %s' % (', '.join(passes[name]), name))
    print('%d tests, %d pass in some configuration, %d are excused' % (len(all_tests), len(passes), len(excused)))
    return 1 if missing or surplus else 0


if __name__ == '__main__':
    sys.exit(main())
