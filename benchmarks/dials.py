"""Which method mends which shift? Each method on the drawn streets with one dial of the shift at a time.

The target of `streets` differs from its source in colour, texture, layout, class frequency, noise and blur.
Here each of them is a task of its own, the other dials at 0; `none` has all at 0, `all` is the usual task.
Every method is trained on every one of them, up to its first adapted stage, and the mIoU of the last
weights is printed as a gain over that stage of self-training, which adapts nothing but BatchNorm's
statistics and sees the same images in the same order (target-stats does not).

    python benchmarks/dials.py --out runs/dials --seeds 0
    python benchmarks/dials.py --dials noise blur --methods 'self-training, sim'
    python benchmarks/dials.py --rehearse --out FOLDER          # two steps on few images: does it run?

All rows of results are in `dials.csv` of `--out`, as `udalit table` writes them; the task's name tells the
shift. About 12 minutes a dial and seed on one core, so 90 for one seed of all. Interrupted, the same
command goes on.
"""
import sys
from argparse import ArgumentParser
from dataclasses import dataclass, fields
from pathlib import Path
from statistics import mean

import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # the package of this checkout

from udalit.core import InputError
from udalit.data.tasks import Task, streets, _named
from udalit.evaluation.results import read_results, write_results
from udalit.experiments.one import experiment
from udalit.experiments.tables import folder_name
from udalit.methods.catalogue import _parse_methods
from udalit.methods.plans import Method
from udalit.options import RunOptions
from udalit.worlds.shift import Shift

DIALS = [field.name for field in fields(Shift)]
SHIFTS = {dial: Shift(**dict.fromkeys(DIALS, 0) | {dial: 1}) for dial in DIALS}
SHIFTS |= dict(none=Shift(**dict.fromkeys(DIALS, 0)), all=Shift())
SIM_MEAN = 'sim --set stuff.distance=mean,instances.distance=mean'  # as printed, SIM unlearns to segment
METHODS = f'source, target-stats, self-training, adaptsegnet, dacs, {SIM_MEAN}'
BASE = 'self-training'

@dataclass(frozen=True)
class Budget:
    "How much is drawn and trained."
    size: tuple[int, int] = (192, 96)  # (width, height) of the scenes
    train: int = 400                   # images of each domain
    test: int = 100
    steps: int | None = None           # of a stage; None: the small network's own

    def task(self, shift: Shift, data: Path) -> str | Task:
        "The usual budget by name, so that a run can be opened again by any command; another as it is drawn."
        if self == Budget(): return _named('streets', shift)
        return streets(data, self.size, (self.train, self.train), self.test, shift)

REHEARSAL = Budget((64, 32), 6, 4, 2)

def until(method: Method) -> str | None:
    "The stage to stop after: re-training on pseudo-labels is another question."
    return 'adapt' if method.stage('adapt') is not None else None

def run_once(method: Method, dial: str, seed: int, budget: Budget, out: Path) -> list[dict]:
    "Rows of results; a finished run is only read."
    options = RunOptions(device='cpu', progress=False, until=until(method))
    folder = out/f'{dial}-{folder_name(method)}-{seed}'
    task = budget.task(SHIFTS[dial], out/'data')
    data = out/'data' if isinstance(task, str) else None
    return experiment(method, task, folder, data, seed, options=options, steps=budget.steps)

def grid(rows: list[dict], methods: list[Method], dials: list[str]) -> str:
    "Method × dial: the base's mIoU, and what the others gain over it, means over the seeds that both have."
    found = {}  # (method, dial) → seed → mIoU of the last stage's last weights
    names = {_named('streets', shift): dial for dial, shift in SHIFTS.items()}
    for row in rows:
        if row['checkpoint'] != 'last' or row['task'] not in names: continue
        found.setdefault((row['method'], names[row['task']]), {})[row['seed']] = row['miou']
    lines = [f'{"":32}' + ''.join(f'{dial:>11}' for dial in dials)]
    for title in (method.title for method in methods):
        cells = []
        for dial in dials:
            own, base = found.get((title, dial), {}), found.get((BASE, dial), {})
            if title == BASE: cells.append(f'{mean(own.values()):11.1f}' if own else f'{"":11}')
            else:
                gains = [own[seed] - base[seed] for seed in own if seed in base]
                cells.append(f'{mean(gains):+11.1f}' if gains else f'{"":11}')
        lines.append(f'{title[:31]:32}' + ''.join(cells))
    return '\n'.join(lines)

def parse(arguments: list[str] | None):
    parser = ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add('--methods', default=METHODS, help="as `udalit table`'s")
    add('--dials', nargs='+', default=list(SHIFTS), choices=list(SHIFTS), help='in this order')
    add('--seeds', type=int, nargs='+', default=[0])
    add('--out', type=Path, default=Path('runs/dials'), help='folder of the runs')
    add('--rehearse', action='store_true', help='two steps on few images: does it run?')
    given = parser.parse_args(arguments)
    try: given.methods = _parse_methods(given.methods)
    except InputError as error: parser.error(str(error))
    return given

def main(arguments: list[str] | None = None) -> int:
    given = parse(arguments)
    budget, table = REHEARSAL if given.rehearse else Budget(), given.out/'dials.csv'
    torch.set_num_threads(1)
    given.out.mkdir(parents=True, exist_ok=True)
    failed = 0
    for seed in given.seeds:
        for dial in given.dials:
            for method in given.methods:
                try: write_results(table, run_once(method, dial, seed, budget, given.out))
                except Exception as error:  # the others are still run
                    failed += 1
                    print(f'FAILED: {method.title} on {dial}, seed {seed}: {error!r}', flush=True)
            if not table.exists(): continue
            print(f'\nafter seed {seed}, {dial}; rows in {table}')
            print(grid(read_results(table), given.methods, given.dials), flush=True)
    return int(failed > 0)

if __name__ == '__main__': sys.exit(main())
