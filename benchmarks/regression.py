"""Do the methods still end where they ended? Small runs of all, compared with the last recorded ones.

Every method is trained on the drawn streets, small and short, with three seeds: too little for a result,
enough to tell a change. The mIoU of each stage's last weights, a mean over seeds, is compared with the last
state in benchmarks/results/regression.csv. It moved if it lies further away than chance explains, which is
3·s·√(1/n + 1/m) for n seeds now and m then. The deviation s is the largest of three: over the seeds now, over
the seeds then, and what three quarters of all stages stay below, since three seeds may agree by luck.

    python benchmarks/regression.py                          # exit status 1 if something moved or failed
    python benchmarks/regression.py --methods 'source, clan --without weights'
    python benchmarks/regression.py --record                 # add what was found to the history, too

All take about 20 minutes on one core. Interrupted, the same command goes on: the runs lie in a folder of
`--out` that is named by the package's source, so those of another state of the code are never taken. One
machine gives the same numbers twice (`same`); another processor or torch rounds otherwise, which grows in
training to the spread of seeds.
"""
import csv
import hashlib
import subprocess
import sys
import time
from argparse import ArgumentParser
from dataclasses import dataclass
from datetime import date
from math import isfinite, sqrt
from pathlib import Path
from statistics import mean, stdev
from typing import NamedTuple

import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # the package of this checkout

from udalit.core import InputError
from udalit.data.tasks import Task, streets
from udalit.experiments.tables import table
from udalit.methods.catalogue import METHODS, _parse_methods
from udalit.methods.plans import Method
from udalit.options import RunOptions

HISTORY = ROOT/'benchmarks'/'results'/'regression.csv'
COLUMNS = 'date', 'commit', 'torch', 'suite', 'method', 'stage', 'seed', 'miou'
SIM_MEAN = 'sim --set stuff.distance=mean,instances.distance=mean'  # as printed, SIM unlearns to segment
LEAST = .2  # of the deviation over seeds, in points of mIoU

@dataclass(frozen=True)
class Suite:
    "How small the runs are."
    size: tuple[int, int] = (96, 48)  # (width, height) of the scenes
    train: int = 100                  # images of each domain
    test: int = 60
    steps: int = 100                  # of a stage, or a share of that where the plan has one

    def __str__(self) -> str: return f'streets {self.size[0]}x{self.size[1]}, {self.steps} steps'

    def task(self, data: Path) -> Task: return streets(data, self.size, (self.train, self.train), self.test)

REHEARSAL = Suite((64, 32), 6, 4, 2)

# what is recorded

class State(NamedTuple):
    "What was recorded of a method at one commit, with one version of torch."
    date: str                     # of its first row
    commit: str
    torch: str                    # version
    miou: dict[str, list[float]]  # stage → percent, one number for each seed

def read_rows(path: Path) -> list[dict]:
    "The rows of the history; none if there is no file yet."
    if not path.exists(): return []
    with open(path, newline='', encoding='utf-8') as file:
        return [row | dict(seed=int(row['seed']), miou=float(row['miou'])) for row in csv.DictReader(file)]

def states_of(rows: list[dict], suite: str) -> dict[str, list[State]]:
    "Method → its states, the oldest first."
    found = {}
    for row in rows:
        if row['suite'] != suite: continue
        which = row['commit'], row['torch']
        state = found.setdefault(row['method'], {}).setdefault(which, State(row['date'], *which, {}))
        state.miou.setdefault(row['stage'], []).append(row['miou'])
    return {method: list(states.values()) for method, states in found.items()}

def add_rows(path: Path, rows: list[dict]) -> int:
    "Append the rows that the history does not have yet; says how many."
    def known_by(row): return tuple(str(row[column]) for column in COLUMNS[1:-1])  # date and value apart
    there = {known_by(row) for row in read_rows(path)}
    new, begun = [row for row in rows if known_by(row) not in there], path.exists()
    with open(path, 'a', newline='', encoding='utf-8') as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator='\n')
        if not begun: writer.writeheader()
        writer.writerows(new)
    return len(new)

# the comparison

def deviation(values: list[float]) -> float:
    "The standard deviation over seeds; 0 for a single one, or where a score is no number."
    return stdev(values) if len(values) > 1 and all(map(isfinite, values)) else 0.

def usual_deviation(*found: dict[str, dict[str, list[float]]]) -> float:
    "What three quarters of the stages of all methods stay below, then and now."
    every = [deviation(values) for methods in found for stages in methods.values()
             for values in stages.values() if len(values) > 1]
    return max(LEAST, sorted(every)[len(every)*3//4]) if every else LEAST

def tolerance(before: list[float], now: list[float], usual: float) -> float:
    "How far apart chance may put two means over seeds."
    return 3*max(deviation(before), deviation(now), usual)*sqrt(1/len(before) + 1/len(now))

class Change(NamedTuple):
    "A stage of a method, then and now."
    method: str
    stage: str
    before: list[float]  # mIoU (%) of each seed; empty: not recorded yet
    now: list[float]     # empty: it failed, or there is no such stage any more
    usual: float         # deviation over seeds

    @property
    def verdict(self) -> str:
        "new, same, within, MOVED, or LOST without a score; what is no number has moved."
        if not self.now: return 'LOST'
        if not self.before: return 'new' if all(map(isfinite, self.now)) else 'MOVED'
        if self.now == self.before: return 'same'
        shift = abs(mean(self.now) - mean(self.before))
        return 'within' if shift <= tolerance(self.before, self.now, self.usual) else 'MOVED'

    @property
    def wrong(self) -> bool: return self.verdict in ('MOVED', 'LOST')

    def __str__(self) -> str:
        now = f'{mean(self.now):.2f}' if self.now else '–'
        line = f'{self.verdict:8}{self.method}, {self.stage}: '
        if not (self.before and self.now): return line + now
        most = tolerance(self.before, self.now, self.usual)
        return f'{line}{mean(self.before):.2f} → {now}, expected within ±{most:.2f}'

def compare(before: dict[str, dict], now: dict[str, dict]) -> list[Change]:
    "Method → stage → mIoU of the seeds, then and now: the methods that there are now, stage by stage."
    usual, changes = usual_deviation(before, now), []
    for method, stages in now.items():
        then = before.get(method, {})
        for stage in dict.fromkeys([*then, *stages] or ['all']):
            changes.append(Change(method, stage, then.get(stage, []), stages.get(stage, []), usual))
    return changes

def last_before(states: dict[str, list[State]], commit: str, version: str) -> dict[str, dict]:
    "Method → stage → mIoU of its last state that is not this one."
    found = {method: [state for state in those if (state.commit, state.torch) != (commit, version)]
             for method, those in states.items()}
    return {method: those[-1].miou for method, those in found.items() if those}

# the runs

def digest_of(suite: Suite) -> str:
    "Eight letters that follow from the suite, the package's files and torch's version."
    found = hashlib.sha256(f'{suite!r} {torch.__version__}'.encode())
    for path in sorted((ROOT/'udalit').rglob('*')):
        if path.suffix in ('.py', '.toml'): found.update(path.read_bytes())
    return found.hexdigest()[:8]

def commit() -> str:
    "The checkout's commit, with -dirty if it has changes; 'unknown' where there is none."
    command = 'git', '-C', str(ROOT), 'describe', '--always', '--dirty', '--exclude=*', '--abbrev=7'
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return 'unknown'

def run_once(method: Method, seed: int, suite: Suite, out: Path) -> dict[str, float]:
    "Stage → mIoU (%) of its last weights; a finished run is only read."
    options = RunOptions(device='cpu', progress=False, judged=1, checks=1)
    steps = dict(steps=suite.steps, translator_steps=max(1, suite.steps//2))
    rows = table([method], suite.task(out/'data'), out, [seed], options=options, **steps)
    this = method.title, seed, 'last'
    own = [row for row in rows if (row['method'], row['seed'], row['checkpoint']) == this]
    return {row['stage']: row['miou'] for row in own if row['protocol'] == own[0]['protocol']}

def run_all(methods: list[Method], seeds: list[int], suite: Suite, out: Path) -> dict[str, dict]:
    "Method → stage → mIoU of the seeds; what failed with one of them is left out."
    todo, start = [(method, seed) for seed in seeds for method in methods], time.monotonic()
    found = {method.title: {} for method in methods}
    for done, (method, seed) in enumerate(todo, 1):
        try:
            ends = run_once(method, seed, suite, out)
            said = ', '.join(f'{stage} {miou:.2f}' for stage, miou in ends.items())
        except Exception as error:  # the others are still compared
            ends, said = {}, f'{type(error).__name__}: {error}'
        for stage, miou in ends.items(): found[method.title].setdefault(stage, []).append(miou)
        left = (time.monotonic() - start)/done*(len(todo) - done)/60
        print(f'{done} of {len(todo)}: {method.title}, seed {seed}: {said} ({left:.0f} min left)', flush=True)
    def whole(stages): return {stage: mious for stage, mious in stages.items() if len(mious) == len(seeds)}
    return {title: whole(stages) for title, stages in found.items()}

def rows_of(found: dict[str, dict], seeds: list[int], suite: Suite, commit: str) -> list[dict]:
    "What was found, as rows of the history."
    shared = dict(date=date.today().isoformat(), commit=commit, torch=torch.__version__, suite=str(suite))
    return [shared | dict(method=method, stage=stage, seed=seed, miou=miou)
            for method, stages in found.items() for stage, values in stages.items()
            for seed, miou in zip(seeds, values)]

def parse(arguments: list[str] | None):
    parser = ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add('--methods', default=', '.join([*METHODS, SIM_MEAN]), help="as `udalit table`'s")
    add('--seeds', type=int, nargs='+', default=[0, 1, 2])
    add('--out', type=Path, default=Path('runs/regression'), help='folder of the runs')
    add('--history', type=Path, default=HISTORY, help='the CSV')
    add('--record', action='store_true', help='add what was found to the history')
    add('--commit', default=commit(), help='what to call this state of the code, if git does not know')
    add('--rehearse', action='store_true', help='two steps on few images: does it run?')
    given = parser.parse_args(arguments)
    try: given.methods = _parse_methods(given.methods)
    except InputError as error: parser.error(str(error))
    if given.record and given.commit.endswith('-dirty'):
        parser.error('--record: this checkout has changes; commit them first, so that the state has a name')
    return given

def main(arguments: list[str] | None = None) -> int:
    given = parse(arguments)
    suite = REHEARSAL if given.rehearse else Suite()
    out = given.out/digest_of(suite)
    torch.set_num_threads(1)
    print(f'{given.commit}, torch {torch.__version__}, {suite}; runs in {out}', flush=True)
    found = run_all(given.methods, given.seeds, suite, out)
    states = states_of(read_rows(given.history), str(suite))
    changes = compare(last_before(states, given.commit, torch.__version__), found)
    print(f'\nusual deviation over seeds: {changes[0].usual:.2f}', *changes, sep='\n')
    if given.record:
        new = add_rows(given.history, rows_of(found, given.seeds, suite, given.commit))
        print(f'{new} rows added to {given.history}')
    wrong = [f'{change.method}, {change.stage}' for change in changes if change.wrong]
    if wrong: print('MOVED:', '; '.join(wrong))
    return int(bool(wrong))

if __name__ == '__main__': sys.exit(main())
