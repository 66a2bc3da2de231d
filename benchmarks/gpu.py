"""What can only be checked and measured on a GPU, in one command of at most nine minutes on an H100 or H200.

    python benchmarks/gpu.py                            # everything
    python benchmarks/gpu.py --parts step,terms         # some parts
    python benchmarks/gpu.py --rehearse                 # without a GPU: every part at a tiny size

The parts, in order of value; each runs in a process of its own and is stopped when its time is over:

cells    the notebooks' cells marked `#| gpu`: do they pass?
waits    how often the host waits for the GPU within a step, for each term: never, if all is well; how many
         kernels it launches, and how long they take
step     the adversarial step (seg + adv + adv_aux) of DeepLab-v2 on ResNet-101, one source image of 1280×720
         and one target image of 1024×512: speed, share of the card's peak, memory; in float32, TF32, bf16 and
         bf16 with the network's blocks compiled
loading  the share of the time that such a step waits for images from files (just written, so in the system's
         cache), by number of workers
terms    what each term costs, as a ratio to the plain step: see terms.py

It needs this checkout and the packages that udalit needs, and downloads nothing. After each part it writes
all that is known: a CSV and a summary, named by card and commit. The exit status is 1 if anything failed.
"""
import contextlib
import csv
import io
import json
import linecache
import multiprocessing
import os
import platform
import re
import subprocess
import sys
import time
import traceback
import types
import warnings
from argparse import ArgumentParser
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import repeat
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import torch
from torch import nn
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile
from torch.utils.data import Dataset
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models.resnet import BasicBlock, Bottleneck

from terms import PLAIN, Comparison, Conditions, aim, compare, comparisons, pair, prepare, reading

import udalit
from udalit.data.datasets import cityscapes, gta5
from udalit.data.loaders import endless_loader
from udalit.data.transforms import preprocess
from udalit.training.step import Trainer
from udalit.worlds.streets import Streets
from udalit.worlds.written import _write_cityscapes, _write_gta5

ROOT = Path(__file__).resolve().parent.parent
COLUMNS = 'part', 'name', 'setting', 'value', 'unit', 'card', 'torch', 'commit'
ADVERSARIAL = 'seg', 'adv', 'adv_aux'

FULL = Conditions('resnet101', (1280, 720), (1024, 512), 1, 'cuda', 'bf16', repeats=5, warm_up=2, burst=3)

@dataclass(frozen=True)
class Plan:
    "At which sizes the parts run."
    conditions: Conditions = FULL
    images: int = 36                        # of each domain, for `loading`
    workers: tuple[int, ...] = (0, 4, 12)
    steps: int = 40                         # timed for each number of workers
    compiler: str = 'inductor'
    every: int = 1                          # 12: of the terms only each twelfth
    rehearse: bool = False

TINY = Conditions(source_size=(96, 64), target_size=(64, 32), batch=1, precision='bf16', repeats=1, warm_up=1)
REHEARSAL = Plan(TINY, images=4, workers=(0, 2), steps=3, compiler='eager', every=12, rehearse=True)

PROBLEM = 'PROBLEM'

def line(row: dict) -> str:
    "A row as text."
    if row['value'] == '': return f'  {row["name"]}: {row["setting"]}'
    return f'  {row["name"]:28} {row["setting"]:28} {float(row["value"]):>9.4g} {row["unit"]}'

class Record:
    "What a part found, written to a file line by line: a part that is stopped keeps what it had."
    def __init__(self, part: str, path: Path, end: float):
        self.part, self.path, self.end = part, path, end

    def row(self, name: str, setting: str, value: float | str, unit: str):
        row = dict(part=self.part, name=name, setting=setting, value=value, unit=unit)
        print(line(row), flush=True)
        with self.path.open('a', encoding='utf-8') as file: file.write(json.dumps(row) + '\n')

    def note(self, text: str): self.row('note', text, '', '')
    def problem(self, text: str): self.row(PROBLEM, text, '', '')

    def within_time(self, items) -> Iterator:
        "The items, as long as there is time for one more that takes as long as the slowest so far."
        slowest = 0.
        for number, item in enumerate(items):
            start = time.monotonic()
            if start + slowest > self.end:
                self.problem(f'no time was left after {number} measurements')
                return
            yield item
            slowest = max(slowest, time.monotonic() - start)

    @contextlib.contextmanager
    def going_on(self, what: str):
        "Within, an error is noted as a problem, and the part goes on."
        try:
            yield
        except Exception as error:
            traceback.print_exc()
            self.problem(f'{what}: {type(error).__name__}: {str(error)[:300]}')

# cells

def has_flag(source: str, *flags: str) -> bool:
    "Is a cell marked `#| FLAG`?"
    return any(re.search(rf'^#\| *{flag}\b', source, re.M) for flag in flags)

def code_cells(path: Path) -> list[tuple[str, str]]:
    "Name and source of each code cell of a notebook."
    cells = json.loads(path.read_text(encoding='utf-8'))['cells']
    return [(cell['id'], ''.join(cell['source'])) for cell in cells if cell['cell_type'] == 'code']

def gpu_notebooks() -> list[Path]:
    "Those with cells for a GPU, by number."
    paths = [path for path in ROOT.glob('nbs/**/[0-9]*.ipynb') if '.ipynb_checkpoints' not in path.parts]
    marked = [path for path in paths if any(has_flag(source, 'gpu') for _, source in code_cells(path))]
    return sorted(marked, key=lambda path: path.name)

def run_cell(name: str, source: str, module: types.ModuleType):
    "Run a cell in the module's namespace; what it prints is dropped."
    linecache.cache[name] = len(source), None, source.splitlines(keepends=True), name  # for tracebacks
    with contextlib.redirect_stdout(io.StringIO()): exec(compile(source, name, 'exec'), vars(module))

def check_cells(record: Record, plan: Plan):
    "Run each notebook that has cells for a GPU from top to bottom, but for slow cells."
    os.environ |= dict(MPLBACKEND='Agg', IN_TEST='1')
    notebooks = gpu_notebooks()
    for path in record.within_time(notebooks[:1] if plan.rehearse else notebooks):
        start = time.monotonic()
        module = types.ModuleType(path.stem)
        sys.modules[path.stem] = module  # where dataclasses look for their annotations
        for name, source in code_cells(path):
            place = f'{path.stem}: {name}'
            for_gpu = has_flag(source, 'gpu')
            if has_flag(source, 'slow', 'eval: *false') or plan.rehearse and for_gpu: continue
            done = False
            with record.going_on(place):
                run_cell(place, source, module)
                done = True
            if for_gpu:
                torch.cuda.set_sync_debug_mode('default')  # a cell that failed may have left another
                record.row(place, 'gpu', int(done), 'passed')
        record.row(path.stem, 'whole notebook', time.monotonic() - start, 's')
    if plan.rehearse: record.note(f'without a GPU none of {len(notebooks)} notebooks\' cells for one was run')

# step

class Mode(NamedTuple):
    "How numbers are kept and computed."
    name: str
    precision: str  # as Accelerate has it
    tf32: bool      # may float32 products be computed in TF32?
    compiled: bool = False  # the residual blocks, each kind and size once

MODES = (Mode('float32', 'no', False), Mode('TF32', 'no', True), Mode('bf16', 'bf16', True),
         Mode('bf16, blocks compiled', 'bf16', True, True))

class Peak(NamedTuple):
    "TFLOP/s of dense products, from the makers' data sheets."
    float32: float
    tf32: float
    bf16: float

PEAKS = {
    'H100 PCIe': Peak(51, 378, 756.5),
    'H100 NVL': Peak(60, 417.5, 835.5),
    'H200 NVL': Peak(60, 417.5, 835.5),
    'H100': Peak(66.9, 494.7, 989.4),  # SXM
    'H200': Peak(66.9, 494.7, 989.4),
}

def peak(card: str, mode: Mode) -> float | None:
    "The card's TFLOP/s in this mode, if it is known."
    found = next((numbers for name, numbers in PEAKS.items() if name in card), None)
    if found is None: return None
    if mode.precision == 'bf16': return found.bf16
    return found.tf32 if mode.tf32 else found.float32

def count_compute(trainer: Trainer, batches: Iterator) -> float:
    "TFLOP of a step: convolutions and matrix products, forward and backward."
    with FlopCounterMode(display=False) as counter: trainer.step(batches)
    return counter.get_total_flops()/1e12

def compile_blocks(network: nn.Module, backend: str):
    "Compile each residual block by itself: blocks of one kind share what is compiled."
    torch._dynamo.config.recompile_limit = 64  # four stages, two kinds of block, two image sizes, three modes
    for module in network.modules():
        if isinstance(module, (BasicBlock, Bottleneck)): module.compile(backend=backend, dynamic=False)

def allow_tf32(allowed: bool):
    torch.backends.cuda.matmul.allow_tf32 = allowed
    torch.backends.cudnn.allow_tf32 = allowed

def measure_mode(mode: Mode, compute: float | None, record: Record, plan: Plan) -> float:
    "Speed, share of the peak and memory in one mode; gives the TFLOP of a step, counted if not known."
    allow_tf32(mode.tf32)
    conditions = replace(plan.conditions, precision=mode.precision)
    trainer = prepare(ADVERSARIAL, conditions, auxiliary=True)
    batches = repeat(pair('adv', conditions))
    if compute is None:
        compute = count_compute(trainer, batches)
        record.row('compute', 'any', compute, 'TFLOP/step')
    if mode.compiled: compile_blocks(trainer.network, plan.compiler)
    start = time.monotonic()
    for _ in range(conditions.warm_up): reading(trainer, batches, conditions)
    record.row('warm-up', mode.name, time.monotonic() - start, 's')
    seconds = [reading(trainer, batches, conditions)[0] for _ in range(conditions.repeats)]
    speed = 1/torch.tensor(seconds).median().item()
    record.row('speed', mode.name, speed, 'steps/s')
    if not conditions.gpu: return compute
    most = peak(torch.cuda.get_device_name(), mode)
    if most is not None: record.row('share of peak', mode.name, compute*speed/most, 'of 1')
    record.row('peak memory', mode.name, torch.cuda.max_memory_allocated()/2**30, 'GiB')
    return compute

def measure_step(record: Record, plan: Plan):
    "The adversarial step in each mode; the compiled one, which takes longest to start, comes last."
    compute = None
    for mode in record.within_time(MODES):
        with record.going_on(mode.name): compute = measure_mode(mode, compute, record, plan)

# loading

def written(folder: Path, plan: Plan) -> tuple[Dataset, Dataset]:
    "Drawn streets as files: labelled ones as GTA5 has them, unlabelled ones as Cityscapes has them."
    conditions = plan.conditions
    _write_gta5(Streets('game', plan.images, conditions.source_size, keep=False), folder/'gta5')
    streets = Streets('real', plan.images, conditions.target_size, keep=False)
    _write_cityscapes(streets, folder/'cityscapes', 'train', labels=False)
    return gta5(folder/'gta5'), cityscapes(folder/'cityscapes', 'train', labelled=False)

def read_pairs(datasets: tuple[Dataset, Dataset], workers: int, conditions: Conditions) -> Iterator:
    "Endless pairs of batches, read as in training: each domain by so many workers."
    source, target = datasets
    return zip(
        endless_loader(source, preprocess(conditions.source_size), conditions.batch, workers=workers),
        endless_loader(target, preprocess(conditions.target_size), conditions.batch, workers=workers))

def measure_loading(record: Record, plan: Plan):
    "How much longer a step takes when its images come from files."
    conditions = replace(plan.conditions, burst=plan.steps)
    with TemporaryDirectory() as folder:
        start = time.monotonic()
        datasets = written(Path(folder), plan)
        record.row('drawing and writing', f'{2*plan.images} images', time.monotonic() - start, 's')
        trainer = prepare(ADVERSARIAL, conditions, auxiliary=True)
        in_memory = repeat(pair('adv', conditions))
        for _ in range(2): held, _ = reading(trainer, in_memory, conditions)
        record.row('speed', 'images in memory', 1/held, 'steps/s')
        for workers in record.within_time(plan.workers):
            pairs = read_pairs(datasets, workers, conditions)
            # until what was read ahead is used up
            reading(trainer, pairs, replace(conditions, burst=2*workers + 3))
            read, _ = reading(trainer, pairs, conditions)
            record.row('speed', f'{workers} workers', 1/read, 'steps/s')
            record.row('waiting for images', f'{workers} workers', max(0., 1 - held/read), 'of the time')

# terms

def measure_terms(record: Record, plan: Plan):
    "The cost of each term."
    for comparison in record.within_time([*comparisons()][::plan.every]):
        with record.going_on(comparison.label):
            cost = compare(comparison, plan.conditions)
            record.row(comparison.label, 'median', cost.ratio, 'times the plain step')
            record.row(comparison.label, 'lower quartile', cost.low, 'times the plain step')
            record.row(comparison.label, 'upper quartile', cost.high, 'times the plain step')
            record.row(comparison.label, 'plain step', cost.milliseconds, 'ms')
            record.row(comparison.label, 'memory', cost.held_with - cost.held, 'MiB more')
            if cost.ratio > aim(plan.conditions):
                record.note(f'{comparison.label}: more than {aim(plan.conditions):.2f} times the plain step')

# waits

def waits_within(action: Callable) -> list[str]:
    "Where the host waited for the GPU: file and line of each wait that torch notices."
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        torch.cuda.set_sync_debug_mode('warn')
        try:
            action()
        finally:
            torch.cuda.set_sync_debug_mode('default')
    waits = [warning for warning in caught if 'called a synchronizing' in str(warning.message)]
    return [f'{Path(wait.filename).name}:{wait.lineno}' for wait in waits]

def count_kernels(action: Callable) -> tuple[int, float]:
    "How many kernels (and copies) the GPU runs, and how many milliseconds they take together."
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as seen:
        action()
        torch.cuda.synchronize()
    kernels = [event for event in seen.events() if event.device_type == DeviceType.CUDA]
    return len(kernels), sum(kernel.device_time for kernel in kernels)/1000

def count_term_waits(comparison: Comparison, record: Record, plan: Plan):
    "The waits and kernels of a step's third and fourth run: the first two load kernels and fill caches."
    auxiliary = 'adv_aux' in comparison.changed
    trainer = prepare(comparison.changed, plan.conditions, heads=comparison.heads, auxiliary=auxiliary)
    batches = repeat(pair(comparison.entry, plan.conditions))
    for _ in range(2): trainer.step(batches)
    if not plan.conditions.gpu: return
    waits = waits_within(lambda: trainer.step(batches))
    record.row(comparison.label, 'bf16', len(waits), 'waits/step')
    if waits: record.problem(f'{comparison.label} waits at {", ".join(sorted(set(waits)))}')
    kernels, milliseconds = count_kernels(lambda: trainer.step(batches))
    record.row(comparison.label, 'bf16', kernels, 'kernels/step')
    record.row(comparison.label, 'bf16, kernels alone', milliseconds, 'ms/step')

def launch_seconds(launches: int = 1000) -> float:
    "What the host needs to launch one of the smallest kernels."
    number = torch.ones(1, device='cuda')
    for _ in range(launches): number += 1
    torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(launches): number += 1
    seconds = (time.perf_counter() - start)/launches
    torch.cuda.synchronize()
    return seconds

def count_waits(record: Record, plan: Plan):
    "The waits within a step, with each term."
    if plan.conditions.gpu:
        control = waits_within(lambda: torch.ones(1, device='cuda').item())
        if len(control) != 1: record.problem(f'reading a number is one wait, torch noticed {len(control)}')
        record.row('launching an addition', 'of one number', 1e6*launch_seconds(), 'µs')
    else:
        record.note('without a GPU the steps run and no waits are counted')
    steps = [Comparison('adv', PLAIN), Comparison('adv_aux', ADVERSARIAL), *[*comparisons()][::plan.every]]
    for comparison in record.within_time(steps):
        with record.going_on(comparison.label): count_term_waits(comparison, record, plan)

# all

class Part(NamedTuple):
    run: Callable[[Record, Plan], None]
    seconds: int  # of nine minutes; what a part leaves over goes to the next

PARTS = dict(cells=Part(check_cells, 70), waits=Part(count_waits, 90), step=Part(measure_step, 140),
             loading=Part(measure_loading, 90), terms=Part(measure_terms, 150))
MARGIN = .1  # of its time a part keeps free: it begins nothing new

def run_part(name: str, plan: Plan, path: Path, end: float):
    "In a process of its own."
    multiprocessing.set_start_method(None, force=True)  # workers of loaders start as they do in training
    record = Record(name, path, end)
    with record.going_on(name): PARTS[name].run(record, plan)

def within(name: str, plan: Plan, seconds: float) -> list[dict]:
    "What a part finds in so many seconds: rows, notes and problems."
    start = time.monotonic()
    with TemporaryDirectory() as folder:
        path = Path(folder)/'found'
        path.touch()
        arguments = name, plan, path, start + (1 - MARGIN)*seconds
        process = multiprocessing.get_context('spawn').Process(target=run_part, args=arguments)
        process.start()
        process.join(seconds)
        stopped = process.is_alive()
        if stopped:
            process.kill()
            process.join()
        lines = path.read_text(encoding='utf-8').splitlines()
    took = time.monotonic() - start
    rows = [json.loads(text) for text in lines]
    rows.append(dict(part=name, name='part', setting='stopped' if stopped else 'ended', value=took, unit='s'))
    wrong = None
    if stopped: wrong = f'stopped after {took:.0f} s'
    elif process.exitcode: wrong = f'ended with exit status {process.exitcode}'
    if wrong: rows.append(dict(part=name, name=PROBLEM, setting=wrong, value='', unit=''))
    return rows

def commit() -> str:
    "The checkout's commit; 'unknown' where there is none."
    command = 'git', '-C', str(ROOT), 'describe', '--always', '--dirty', '--exclude=*', '--abbrev=7'
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return 'unknown'

def card_name() -> str: return torch.cuda.get_device_name() if torch.cuda.is_available() else 'CPU'

class Results:
    "A CSV and a summary in `folder`, named by card and commit; parts that are not run again are kept."
    def __init__(self, folder: Path, plan: Plan, commit: str):
        self.about = dict(card=card_name(), torch=torch.__version__, commit=commit)
        self.conditions = plan.conditions
        card = self.about['card'].removeprefix('NVIDIA ')
        name = f'{"rehearsal " if plan.rehearse else ""}{card} {commit}'
        self.path = folder/(re.sub('[^a-z0-9]+', '-', name.lower()) + '.csv')
        self.rows = []
        if self.path.exists():
            with self.path.open(encoding='utf-8', newline='') as file: self.rows = list(csv.DictReader(file))

    def add(self, part: str, rows: list[dict]):
        "Replace what was known of the part, and write everything."
        kept = [row for row in self.rows if row['part'] != part]
        self.rows = kept + [row | self.about for row in rows]
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open('w', encoding='utf-8', newline='') as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(self.rows)
        self.path.with_suffix('.txt').write_text(self.summary(), encoding='utf-8')

    @property
    def problems(self) -> list[dict]: return [row for row in self.rows if row['name'] == PROBLEM]

    def summary(self) -> str:
        "All rows, part by part, in the order of value."
        versions = f'udalit {udalit.__version__}, torch {torch.__version__}, CUDA {torch.version.cuda}'
        lines = [f'{self.about["card"]}, commit {self.about["commit"]}, {len(self.problems)} problems',
                 f'{versions}, Python {platform.python_version()}', str(self.conditions)]
        for part in PARTS:
            lines += ['', part, *[line(row) for row in self.rows if row['part'] == part]]
        return '\n'.join(lines) + '\n'

def parse():
    "The command's options."
    parser = ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add('--parts', default=','.join(PARTS), help='some of %(default)s')
    add('--out', type=Path, help='folder of the results; else what OUT says, else benchmarks/results')
    add('--rehearse', action='store_true', help='every part at a tiny size on the CPU')
    add('--minutes', type=float, default=9, help='of all parts together')
    add('--commit', default=commit(), help='what to call this state of the code, if git does not know')
    options = parser.parse_args()
    options.parts = options.parts.split(',')
    unknown = sorted(set(options.parts) - set(PARTS))
    if unknown: parser.error(f'no part {", ".join(unknown)}; there are {", ".join(PARTS)}')
    if not options.rehearse and not torch.cuda.is_available():
        parser.error('there is no CUDA GPU; --rehearse runs every part at a tiny size on the CPU')
    if options.out is None: options.out = Path(os.environ.get('OUT') or ROOT/'benchmarks'/'results')
    return options

def main() -> int:
    start, options = time.monotonic(), parse()
    plan = REHEARSAL if options.rehearse else Plan()
    results = Results(options.out, plan, options.commit)
    spare = 0.
    for name in options.parts:
        given = spare + PARTS[name].seconds*options.minutes/9
        before = time.monotonic()
        print(f'{name}: {given:.0f} s at most; {before - start:.0f} s have passed', flush=True)
        results.add(name, within(name, plan, given))
        spare = max(0., given - (time.monotonic() - before))
    print()
    print(results.summary())
    print(f'{results.path} and .txt, after {time.monotonic() - start:.0f} s')
    return 1 if results.problems else 0

if __name__ == '__main__': sys.exit(main())
