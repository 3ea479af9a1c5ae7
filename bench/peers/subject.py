"""The side of a peer in the benchmark's conversation (bench/sidebyside/subject.go has the other).

A peer prints one line of JSON once it can compute: what it is, the cases that it knows, the seconds that it took to get
there, and its embeddings of inputs that all are given. Then, for each line {"case": NAME, "seconds": S} of standard input, it runs the case for at least S seconds and at
least once, and prints {"items": N, "times": [seconds of each call], "cpu": seconds of processor time}. So that the
benchmark's samples of several peers can take turns, nothing runs between two lines.
"""
import json
import os
import resource
import sys
import time

START = time.perf_counter()
# Results alone may go to standard output; whatever libraries print there goes to standard error.
OUT = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)


def say(**line):
    print(json.dumps(line), file=OUT, flush=True)


def cpu():
    u = resource.getrusage(resource.RUSAGE_SELF)
    return u.ru_utime + u.ru_stime


def peak():
    """Bytes of the most memory that the process has had resident."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def serve(version, cases, probe=None):
    """cases: name -> (items of a call, function). Each function is called once before the peer says that it is ready, or
    the one in the third place is instead. probe returns the embeddings of the probes, a row each."""
    for items, run, *warm in cases.values():
        (warm[0] if warm else run)()
    is_ready = {"load": time.perf_counter() - START, "peak": peak()}
    say(ready=True, version=version, cases=sorted(cases), vectors=probe().tolist() if probe else [], **is_ready)
    for line in sys.stdin:
        ask = json.loads(line)
        items, run, *_ = cases[ask["case"]]
        times, used, end = [], cpu(), time.perf_counter() + ask["seconds"]
        while not times or time.perf_counter() < end:
            start = time.perf_counter()
            run()
            times.append(time.perf_counter() - start)
        say(items=items, times=times, cpu=cpu() - used, peak=peak())


def run(main):
    """Runs main, and turns its exception into the line that says why this peer cannot be measured."""
    try:
        main()
    except Exception as e:  # whatever a library throws
        say(error=f"{type(e).__name__}: {e}".splitlines()[0])
        raise
