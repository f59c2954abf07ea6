"""The rules of the operations pack that have no threshold, over made series.

    python alerts.py ALERTS_YAML STORAGE

Series go into whisper files below STORAGE, and Graphite's own render code evaluates the rules'
targets. What Grafana does with the result is done here: a look each minute at the last value of
five minutes, compared with the rule's number, and an alarm when that holds for the rule's time.
Tells a JSON object on each line: rule, series, and the minutes after the event (or after the
start) at which alarms began.
"""

import json
import logging
import math
import os
import random
import re
import sys
import time
import types
import warnings
from datetime import datetime, timezone
from pathlib import Path

import whisper
from ruamel.yaml import YAML

STEP = 10
HOUR = 3600
# Before anything is judged there is this much of a past.
PAST = 2 * HOUR
ALIVE = "stats.gauges.{prefix}.process.memory"


def graphite(storage):
    """Graphite's evaluation of targets. Nothing is drawn, so the library that draws is left out."""
    sys.modules["cairocffi"] = types.ModuleType("cairocffi")
    os.environ["GRAPHITE_STORAGE_DIR"] = str(storage)
    os.environ["DJANGO_SETTINGS_MODULE"] = "graphite.settings"
    for folder in ("log/webapp", "whisper"):
        (storage / folder).mkdir(parents=True, exist_ok=True)
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    import django

    django.setup()
    from graphite.render.evaluator import evaluateTarget

    return evaluateTarget


# === Series: seconds after the event, a source of chance, the usual level → a level or None ===


def noise(_, chance, usual):
    return usual * math.exp(0.3 * chance.gauss(0, 1))


def step(at, chance, usual):
    return noise(at, chance, usual) * (6 if at >= 0 else 1)


def spike(at, chance, usual):
    return noise(at, chance, usual) * (100 if 0 <= at < 60 else 1)


def slow_rise(at, chance, usual):
    """To six times within four hours."""
    return noise(at, chance, usual) * 6 ** min(1, max(0, at / (4 * HOUR)))


def quick_rise(at, chance, usual):
    """To six times within five minutes."""
    return noise(at, chance, usual) * 6 ** min(1, max(0, at / 300))


def season(at, chance, usual):
    """A day with five times as much at noon as at night, and a job of five minutes each hour."""
    day = 5 ** ((1 - math.cos(math.tau * at / (24 * HOUR))) / 2)
    return noise(at, chance, usual) * day * (4 if at % HOUR < 300 else 1)


def start(at, chance, usual):
    """Nothing was there before the server came up."""
    return None if at < 0 else noise(at, chance, usual)


def new(at, chance, usual):
    """What never was, and StatsD does not send while there is none of it."""
    return None if at < 0 else usual


SERIES = {
    # Its hours after the event.
    step: 2,
    spike: 2,
    quick_rise: 2,
    slow_rise: 5,
    season: 24,
    noise: 24,
    start: 2,
    new: 1,
}


class Rule:
    """A rule of alerts.yaml."""

    def __init__(self, rule):
        self.uid = rule["uid"]
        self.target = rule["data"][0]["model"]["target"]
        [condition] = rule["data"][2]["model"]["conditions"]
        [self.threshold] = condition["evaluator"]["params"]
        assert condition["evaluator"]["type"] == "gt"
        self.seconds = int(re.fullmatch(r"(\d+)m", rule["for"])[1]) * 60
        self.window = rule["data"][0]["relativeTimeRange"]["from"]
        # The figure's name comes first in its target.
        self.figure = re.search(r"stats\.[\w.*]+", self.target)[0]

    def usual(self):
        """Milliseconds, or so many a second."""
        return 20.0 if "upper_99" in self.figure else 8.0

    def alarms(self, evaluate, prefix, begin, end):
        """Seconds after `begin` at which alarms begin."""
        target = self.target.replace("millrace", prefix)
        values = dict(render(evaluate, target, begin - self.window, end))
        found, held = [], 0
        for look in range(begin, end, 60):
            window = range(look - self.window, look + 1)
            last = next((values[at] for at in reversed(window) if values.get(at) is not None), None)
            held = held + 60 if last is not None and last > self.threshold else 0
            # The first look is at 0 seconds of it.
            if held == self.seconds + 60:
                found.append(look - begin)
        return found


def render(evaluate, target, begin, end):
    """The times and values of a target, as `/render` gives them."""
    context = {
        "startTime": datetime.fromtimestamp(begin, timezone.utc),
        "endTime": datetime.fromtimestamp(end, timezone.utc),
        "now": datetime.fromtimestamp(end, timezone.utc),
        "tzinfo": timezone.utc,
        "localOnly": True,
        "template": None,
        "data": [],
        "prefetched": {},
        "forwardHeaders": None,
        "sourceIdHeaders": {},
        "targets": [target],
        "xFilesFactor": 0,
    }
    series = evaluate(context, [target])
    assert len(series) <= 1, [one.name for one in series]
    return [(one.start + n * one.step, value) for one in series for n, value in enumerate(one)]


def write(storage, name, points):
    path = storage / "whisper" / (name.replace("*", "x").replace(".", "/") + ".wsp")
    path.parent.mkdir(parents=True, exist_ok=True)
    whisper.create(str(path), [(STEP, 2 * 24 * HOUR // STEP)], xFilesFactor=0)
    whisper.update_many(str(path), [(at, value) for at, value in points if value is not None])


def main():
    alerts, storage = Path(sys.argv[1]), Path(sys.argv[2])
    evaluate = graphite(storage)
    groups = YAML(typ="safe", pure=True).load(alerts)["groups"]
    rules = [Rule(rule) for group in groups for rule in group["rules"] if "unusual" in rule["uid"]]
    now = int(time.time()) // HOUR * HOUR
    for rule in rules:
        for number, (series, hours) in enumerate(SERIES.items()):
            prefix, chance = f"m{number}", random.Random(f"{rule.uid} {number}")
            event, end = now - hours * HOUR, now
            times = range(event - PAST, end, STEP)
            points = [(at, series(at - event, chance, rule.usual())) for at in times]
            write(storage, rule.figure.replace("millrace", prefix), points)
            alive = ALIVE.format(prefix=prefix)
            if not (storage / "whisper" / (alive.replace(".", "/") + ".wsp")).exists():
                is_up = lambda at: series is not start or at >= event
                write(storage, alive, [(at, 1e8 if is_up(at) else None) for at in times])
            alarms = rule.alarms(evaluate, prefix, event, end)
            minutes = [alarm / 60 for alarm in alarms]
            print(json.dumps({"rule": rule.uid, "series": series.__name__, "minutes": minutes}), flush=True)


main()
