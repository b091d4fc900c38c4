#!/usr/bin/env python3
"""Run libiscsi's iscsi-test-cu one test at a time, with an honest verdict for each.

usage: run.py URL [URL2] [options]
  URL    iscsi://[user%password@]host:port/iqn/lun      (the LUN's data WILL be destroyed)
  URL2   second path to the same LUN: handed to the MultipathIO tests, which are skipped without it

  --tests X        what to run, may be repeated: a file (one pattern a line, # comments), or a pattern:
                   FAMILY[.SUITE[.TEST]] as in `iscsi-test-cu --list`, * and ? allowed [ALL]
  --exclude X      same syntax: leave these out
  --required X     same syntax: a failure here is never excused by what was expected, but for a test whose
                   expected line has a note that says why the tool is wrong
  --timeout S      seconds for one test before it is killed and called HANG [60]
  --output FILE    TSV goes here [stdout]
  --log-dir DIR    keep each test's full verbose log here
  --expect FILE    test<TAB>verdict<TAB>assertions[<TAB>note], # comments: exit 1 only when a test got worse than there
                   (order: PASSED > SKIPPED > anything else; PASSED with less than half the assertions is worse), when one listed
                   there did not run, or when one that is not listed failed; without it, exit 1 on any failure
  --bless          write the verdicts of this run to the --expect file; its notes and comments stay
  --recover CMD    shell command run after each failed test (FAILED, HANG, CRASH, ERROR): it should give a fresh
                   target, so that a leaked reservation, write protection or a dead target does not fail the next
  --tool PATH      iscsi-test-cu [iscsi-test-cu from PATH]
  --tool-flag F    given to iscsi-test-cu, may be repeated: --tool-flag=--allow-sanitize

TSV: test <TAB> verdict <TAB> assertions made <TAB> seconds <TAB> first failing assertion / skip reason
verdicts: PASSED; FAILED (an assertion failed); SKIPPED (the log of the test itself has a [SKIPPED]
line: CUnit calls those "passed"; they are not counted as passed here); HANG (killed at --timeout);
CRASH (iscsi-test-cu died from a signal); ERROR (no login, or the tool ran no test).
FAILED beats SKIPPED.  FAILED, HANG, CRASH and ERROR all count as failed.
Exit: 0 no failure, 1 failures, 2 usage or no test selected.
"""
import argparse
import contextlib
import fnmatch
import os
import re
import signal
import subprocess
import sys
import time

BAD = ('FAILED', 'HANG', 'CRASH', 'ERROR')
RANK = {'PASSED': 2, 'SKIPPED': 1}


def oneline(s):
    return re.sub(r'\s+', ' ', s).strip()


def listed(tool):
    out = subprocess.run([tool, '--list'], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL,
                         timeout=30, check=True).stdout.decode('utf-8', 'replace')
    return [l.strip() for l in out.splitlines() if l.strip().count('.') == 2]


def patterns(args):
    pats = []
    for a in args:
        if os.path.isfile(a):
            with open(a) as f:
                for l in f:
                    l = l.split('#', 1)[0].strip()
                    if l:
                        pats.append(l.split()[0])
        else:
            pats += [p for p in a.split(',') if p]
    return pats


def matches(name, pat):
    p, n = pat.split('.'), name.split('.')
    return len(p) <= 3 and all(fnmatch.fnmatchcase(a, b) for a, b in zip(n, p))


def select(names, pats):
    sel, unmatched = [], []
    for p in pats:
        hit = [n for n in names if matches(n, p)]
        if not hit:
            unmatched.append(p)
        sel += [n for n in hit if n not in sel]
    return sel, unmatched


def judge(out, rc, timed_out):
    """verdict and detail from one run's combined output"""
    # only what lies between 'Test: NAME ...' and CUnit's verdict belongs to the test: set-up before it
    # may print [SKIPPED] too (REPORT_SUPPORTED_OPCODES), and that says nothing about the test
    m = re.search(r'^\s*Test: .*?\.\.\.', out, re.M)
    body = out[m.end():] if m else ''
    head = out[:m.start()] if m else out
    end = re.search(r'^\s*Run Summary:', body, re.M)
    tail = body[end.start():] if end else ''
    if end:
        body = body[:end.start()]
    bad_lines = [oneline(l) for l in body.splitlines()
                 if ('[FAILED]' in l or '[FAILURE]' in l) and 'CU_FAIL(' not in l]
    # nor does what is printed after CUnit's 'passed' (a tear-down that reads reservation keys)
    v = re.search(r'^(passed|FAILED)', body, re.M)
    skip_lines = [oneline(l) for l in body[:v.start() if v else len(body)].splitlines() if '[SKIPPED]' in l]
    # CUnit ends its list of assertions without a newline: a tear-down's log line may be glued on
    asserts = [re.sub(r' Send [A-Z/_0-9]+$', '', oneline(l)) for l in body.splitlines() if re.match(r'\s*\d+\. \S+:\d+\s+- ', l)]
    why = ' | '.join(([asserts[0]] if asserts else []) + ([bad_lines[0]] if bad_lines else []))
    if timed_out:
        last = [oneline(l) for l in out.splitlines() if l.strip()]
        return 'HANG', (why + ' | ' if why else '') + 'last output: ' + (last[-1] if last else 'none')
    if rc < 0:
        return 'CRASH', 'signal %d %s' % (-rc, why)
    t = re.search(r'^\s*tests\s+(\d+)\s+(\d+)\s+(\d+)\s+(\d+)', tail, re.M)
    if not t:
        errs = [oneline(l) for l in head.splitlines() + body.splitlines() if l.strip()]
        return 'ERROR', 'exit %d: %s' % (rc, ' / '.join(errs[-2:]) if errs else 'no output')
    ran, failed = int(t.group(2)), int(t.group(4))
    if failed:
        return 'FAILED', why or 'CUnit counts a failure, no assertion line found'
    if ran == 0:
        return 'ERROR', 'iscsi-test-cu ran no test'
    s = re.search(r'^\s*suites\s+\d+\s+\d+\s+\S+\s+(\d+)', tail, re.M)
    if s and int(s.group(1)):
        return 'ERROR', 'suite set-up failed'
    if skip_lines:
        return 'SKIPPED', skip_lines[0]
    if rc not in (0,):
        return 'ERROR', 'exit %d though CUnit counts no failure' % rc
    return 'PASSED', ('note: passed, but log says: ' + bad_lines[0]) if bad_lines else ''


def run(argv, timeout):
    """(output, rc, timed_out, seconds); the whole process group is killed at the timeout"""
    t0 = time.monotonic()
    p = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                         stderr=subprocess.STDOUT, start_new_session=True)
    timed_out = False
    try:
        out = p.communicate(timeout=timeout)[0]
    except subprocess.TimeoutExpired:
        timed_out = True
        os.killpg(p.pid, signal.SIGKILL)
        out = p.communicate()[0]
    return out.decode('utf-8', 'replace'), p.returncode, timed_out, time.monotonic() - t0


def arguments():
    ap = argparse.ArgumentParser(usage=__doc__)
    ap.add_argument('url')
    ap.add_argument('url2', nargs='?')
    ap.add_argument('--tests', action='append')
    ap.add_argument('--exclude', action='append', default=[])
    ap.add_argument('--required', action='append', default=[])
    ap.add_argument('--timeout', type=float, default=60)
    ap.add_argument('--output')
    ap.add_argument('--log-dir')
    ap.add_argument('--expect')
    ap.add_argument('--bless', action='store_true')
    ap.add_argument('--recover')
    ap.add_argument('--tool', default='iscsi-test-cu')
    ap.add_argument('--tool-flag', action='append', default=[])
    return ap.parse_args()


def selection(names, args):
    """the tests to run, and those of them that are required"""
    def chosen(pats):
        sel, unmatched = select(names, patterns(pats))
        if unmatched:
            raise SystemExit('no such test: ' + ', '.join(unmatched))
        return sel
    drop = chosen(args.exclude)
    return [t for t in chosen(args.tests or ['ALL']) if t not in drop], set(chosen(args.required))


def read_expected(path):
    """{test: (verdict, assertions, note)} and the comment lines at the file's head"""
    expected, comments = {}, []
    if os.path.exists(path):
        with open(path) as f:
            for line in f:
                if line.startswith('#'):
                    comments.append(line)
                elif line.strip():
                    name, verdict, asserts, *note = line.rstrip('\n').split('\t')
                    expected[name] = (verdict, int(asserts), note[0] if note else '')
    return expected, comments


def write_expected(path, got):
    expected, comments = read_expected(path)
    with open(path, 'w') as f:
        f.writelines(comments)
        for name, (verdict, asserts) in got.items():
            note = expected.get(name, ('', 0, ''))[2]
            f.write('\t'.join([name, verdict, str(asserts)] + ([note] if note else [])) + '\n')


def worse(got, expected, required):
    """one line for each test that is worse than expected, or that fails though it is required"""
    lines = []
    for name, (want, asserts, note) in expected.items():
        have, made = got.get(name, ('NOT RUN', 0))
        if have == 'NOT RUN' or RANK.get(have, 0) < RANK.get(want, 0):
            lines.append('%s: expected %s, got %s' % (name, want, have))
        elif have == 'PASSED' and made < asserts / 2:  # those that run against the clock make now more, now fewer
            lines.append('%s: expected %d assertions, %d were made' % (name, asserts, made))
        elif have in BAD and name in required and not note:
            lines.append('%s: %s, and its family is required' % (name, have))
    lines += ['%s: not in the expected list, got %s' % (name, have)
              for name, (have, _) in got.items() if name not in expected and have in BAD]
    return lines


def run_one(args, name):
    argv = [args.tool, *args.tool_flag, '-V', '-d', '-t', name, args.url]
    if args.url2 and '.MultipathIO.' in name:
        argv.append(args.url2)
    text, rc, timed_out, seconds = run(argv, args.timeout)
    if args.log_dir:
        os.makedirs(args.log_dir, exist_ok=True)
        with open(os.path.join(args.log_dir, name + '.log'), 'w') as f:
            f.write(text)
    verdict, detail = judge(text, rc, timed_out)
    if args.recover and verdict in BAD:
        subprocess.run(args.recover, shell=True, stdin=subprocess.DEVNULL,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    asserts = re.search(r'^\s*asserts\s+(\d+)', text, re.M)
    return (verdict, int(asserts.group(1)) if asserts else 0), detail, seconds


def main():
    args = arguments()
    try:
        names = listed(args.tool)
    except (OSError, subprocess.SubprocessError) as e:
        print('cannot list tests with %s: %s' % (args.tool, e), file=sys.stderr)
        return 2
    todo, required = selection(names, args)
    if not todo:
        print('no test selected', file=sys.stderr)
        return 2
    got = {}
    with open(args.output, 'w') if args.output else contextlib.nullcontext(sys.stdout) as out:
        for name in todo:
            got[name], detail, seconds = run_one(args, name)
            verdict, asserts = got[name]
            print('%s\t%s\t%d\t%.2f\t%s' % (name, verdict, asserts, seconds, detail), file=out, flush=True)
            if args.output and verdict in BAD:
                print('%s %s %s' % (verdict, name, detail), file=sys.stderr, flush=True)
    if args.expect and args.bless:
        write_expected(args.expect, got)
    verdicts = [verdict for verdict, _ in got.values()]
    count = {v: verdicts.count(v) for v in ('PASSED', 'SKIPPED') + BAD}
    failed = sum(count[v] for v in BAD)
    if args.expect:
        expected = read_expected(args.expect)[0]
        problems = worse(got, expected, required)
        for line in problems:
            print('WORSE ' + line)
        for name, (have, _) in got.items():
            if name in expected and RANK.get(have, 0) > RANK.get(expected[name][0], 0):
                print('BETTER %s: expected %s, got %s (--bless records it)' % (name, expected[name][0], have))
        failed_here = bool(problems)
    else:
        failed_here = failed > 0
    print('verdicts: ' + ', '.join('%d %s' % (n, v) for v, n in count.items() if n))
    return 1 if failed_here else 0


if __name__ == '__main__':
    sys.exit(main())
