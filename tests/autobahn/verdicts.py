#!/usr/bin/env python3
"""Prints how many cases of a report had which verdict; fails when one failed."""

import collections
import json
import pathlib
import sys

CASES = 247
GOOD = {"OK", "NON-STRICT", "INFORMATIONAL"}

index = json.loads((pathlib.Path(sys.argv[1]) / "index.json").read_text())
[(agent, cases)] = index.items()
verdicts = collections.Counter()
bad = []
for case, result in sorted(cases.items()):
    verdicts[result["behavior"]] += 1
    verdicts["close " + result["behaviorClose"]] += 1
    if not GOOD.issuperset((result["behavior"], result["behaviorClose"])):
        bad.append(f"{case}: {result['behavior']}, close: {result['behaviorClose']}")
for verdict, count in sorted(verdicts.items()):
    print(f"{verdict:24} {count}")
print(*bad, sep="\n")
if len(cases) != CASES:
    bad.append(f"{len(cases)} cases ran, {CASES} are expected")
    print(bad[-1])
print(f"{len(cases) - len(bad)} passed, {len(bad)} failed")
sys.exit(1 if bad else 0)
