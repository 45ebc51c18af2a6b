"""What the checks of Python clients have in common."""

import sys


def expect(holds, what):
    if not holds:
        raise AssertionError(what)


def run(checks, is_there=lambda name: True):
    """Plays the checks one after the other and ends the process, with 1 where one has failed; those of which `is_there` says no are skipped."""
    failed = 0
    for check in checks:
        name = check.__name__
        if not is_there(name):
            print(f"skips {name}: not installed")
            continue
        try:
            check()
            print(f"ok    {name}")
        except Exception as problem:  # Whatever goes wrong is a finding, and the next check still says something.
            failed += 1
            print(f"FAILS {name}: {type(problem).__name__}: {problem}")
    sys.exit(1 if failed else 0)
