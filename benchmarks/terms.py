"""What does each loss cost? The time of a step with it, as a ratio to the plain adversarial step (seg + adv).

Both steps are whole optimiser steps of `udalit.training.step.Trainer`: two networks of the same first weights
learn from the same drawn streets, held in memory, A B A B … in one process, so that whatever else the machine
does slows both.

`+ X`: seg + adv with X added. `X` alone: with X in the place of the term of its name, or of adv where it is
the method's adversary. `ratio` is the median of time with / time without, pair by pair, with its quartiles.
The aim: at most 10 % more on a GPU, 15 % on a CPU; `!` marks what exceeds it, as a term with a view of its
own must, which is one more pass: all of MIC's together shall cost no more than 1.6. `MiB`: the most a step
holds beyond weights, optimisers and data, without → with.

No network is trained: 5 is added to the logit of one class at each pixel of the feature map. Which one, a
drawn scene says, 3 % of its pixels exchanged for another's. So regions and class means are those of a fair
prediction, whatever the backbone; a random ResNet would predict a few classes only. Memories are full; the
pseudo-labels of terms that read some leave a third of the pixels out.

    python benchmarks/terms.py --backbone resnet101 --size 1024x512 --batch 1 --device cuda --precision bf16
    python benchmarks/terms.py --clock cpu --out benchmarks/results/terms-cpu.csv
"""
import csv
import gc
import os
import platform
import sys
import time
from argparse import ArgumentParser
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import repeat
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import Tensor, nn
from torch.utils.data import default_collate

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # the package of this checkout

import udalit
from udalit.data.transforms import _as_plain
from udalit.labels import CITYSCAPES, IGNORE
from udalit.losses.matching import _Matching
from udalit.losses.terms import TERMS, Setup
from udalit.methods.catalogue import settings_for
from udalit.methods.changes import _makers_of
from udalit.methods.plans import build_terms, _parse_entry
from udalit.nets.generators import BACKBONES, deeplab_v2
from udalit.nets.regions import _at_stride
from udalit.training.step import Trainer
from udalit.worlds.streets import Streets

PLAIN = 'seg', 'adv'
TWO_HEADS = 'seg=focal', 'weights', 'local'  # compare two heads; the plain step then has them, too
INSTEAD = 'ent', 'local', 'fine', 'intra', 'mix', 'masked'  # stand in the place of adv in their methods
TOGETHER = 'teacher', 'mix', 'masked'        # of MIC

@dataclass(frozen=True)
class Conditions:
    "Under which steps are measured."
    backbone: str = 'small'
    source_size: tuple[int, int] = (192, 96)  # (width, height)
    target_size: tuple[int, int] = (192, 96)
    batch: int = 4                            # images of each domain
    device: str = 'cpu'
    precision: str = 'no'
    repeats: int = 10                         # pairs of readings, after those that warm up
    warm_up: int = 3
    burst: int = 1                            # steps in one reading; on a GPU several, as in training
    clock: str = 'wall'                       # or 'cpu': processor time, where others use the machine
    statistics: str = 'both'                  # whose passes move BatchNorm's statistics; or 'target'

    @property
    def gpu(self) -> bool: return self.device == 'cuda'

    def size(self, domain: str) -> tuple[int, int]:
        return self.source_size if domain == 'source' else self.target_size

@lru_cache
def scenes(domain: str, conditions: Conditions) -> dict:
    "A batch of drawn scenes; its label is the truth."
    style = dict(source='game', target='real')[domain]
    streets = Streets(style, conditions.batch, size=conditions.size(domain))
    return default_collate([_as_plain(sample) for sample in streets])

def pair(entry: str, conditions: Conditions) -> tuple[dict, dict]:
    "Source and target on the device; the target has pseudo-labels where the term `entry` needs some."
    source, target = dict(scenes('source', conditions)), dict(scenes('target', conditions))
    truth = target.pop('label')
    _, kind, _ = _parse_entry(entry)
    if 'labels' in kind.needs:
        generator = torch.Generator().manual_seed(0)
        confidence = torch.randint(128, 256, truth.shape, dtype=torch.uint8, generator=generator)  # (b, H, W)
        target |= dict(label=truth.masked_fill(confidence < 170, IGNORE), confidence=confidence)
    return tuple({key: value.to(conditions.device) if isinstance(value, Tensor) else value
                  for key, value in batch.items()} for batch in (source, target))

@lru_cache
def feature_size(backbone: str, size: tuple[int, int]) -> tuple[int, int]:
    "(h, w) of the features for images of `size` = (width, height), found without computing them."
    with torch.device('meta'):
        images = torch.zeros(2, 3, size[1], size[0])
        features = deeplab_v2(backbone)(images).features
    return tuple(features.shape[-2:])

def sure_logits(domain: str, conditions: Conditions) -> Tensor:
    "(b, k, h, w): 5 for the class that the drawn scene shows, with 3 % of its pixels exchanged; else 0."
    truth = scenes(domain, conditions)['label']                                     # (b, H, W)
    exchanged = torch.rand(truth.shape, generator=torch.Generator().manual_seed(0)) < .03
    ids = torch.where(exchanged, truth.roll(1, 0).flip(-1), truth)
    ids = _at_stride(ids, feature_size(conditions.backbone, conditions.size(domain)))  # (b, h, w)
    k = len(CITYSCAPES)
    shown = F.one_hot(ids.clamp(max=k), k + 1)[..., :-1]                            # ignored: no class
    return 5*shown.permute(0, 3, 1, 2).float()

class Confident(nn.Module):
    "A network whose logits are raised by given maps, one a domain."
    decoders = 2  # it wants to know the domain
    head_modules = 'network.heads', 'network.auxiliary'

    def __init__(self, network: nn.Module, conditions: Conditions):
        super().__init__()
        self.network = network
        self.num_classes, self.normalize = network.num_classes, network.normalize
        for domain in ('source', 'target'): self.register_buffer(domain, sure_logits(domain, conditions))

    def forward(self, images, domain):
        maps = self.network(images)
        sure = getattr(self, domain).to(maps.logits.dtype)
        heads = tuple(head + sure/2 for head in maps.heads)
        return maps._replace(logits=maps.logits + sure, heads=heads)

def accelerator_for(conditions: Conditions) -> Accelerator:
    "Device and precision; a second one in this process may differ from the first."
    AcceleratorState._reset_state(reset_partial_state=True)
    return Accelerator(mixed_precision=conditions.precision, cpu=not conditions.gpu)

def prepare(entries: tuple[str, ...], conditions: Conditions, **changes) -> Trainer:
    "All that a step with these terms needs; memories are full. `changes` are fields of `Settings`."
    gc.collect()  # networks of earlier measurements
    settings = settings_for(conditions.backbone, batch_size=conditions.batch,
                            statistics=conditions.statistics, **changes)
    accelerator = accelerator_for(conditions)
    torch.manual_seed(0)
    with torch.device(conditions.device):
        network = deeplab_v2(conditions.backbone, len(CITYSCAPES), **settings.of_network())
        setup = Setup(network, settings, CITYSCAPES)
        terms = build_terms(entries, setup, dict(local=dict(preheat=0.)))  # CLAN's code, later on
    for term in terms.values():
        if not isinstance(term, _Matching): continue
        term.memory.samples.normal_()
        term.memory.written.fill_(2*term.memory.samples.shape[1])
    return Trainer(Confident(network, conditions), terms, settings, accelerator)

def reading(trainer: Trainer, batches: Iterator, conditions: Conditions) -> tuple[float, float]:
    "Seconds of a step, and the most MiB it held beyond what was there before."
    clock = time.process_time if conditions.clock == 'cpu' else time.perf_counter
    before = 0
    if conditions.gpu:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
    start = clock()
    for _ in range(conditions.burst): trainer.step(batches)
    if conditions.gpu: torch.cuda.synchronize()
    seconds = (clock() - start)/conditions.burst
    held = torch.cuda.max_memory_allocated() - before if conditions.gpu else 0
    return seconds, held/2**20

class Comparison(NamedTuple):
    "Two steps that differ by a term."
    entry: str      # the term
    changed: tuple  # the terms of the step with it; those of the step without are `PLAIN`
    name: str = ''  # of several terms; '': the entry

    @property
    def label(self) -> str:
        name = self.name or self.entry
        return f'+ {name}' if set(PLAIN) < set(self.changed) else name
    @property
    def heads(self) -> int: return 2 if self.entry.startswith(TWO_HEADS) else 1

def segmentation_entries() -> Iterator[tuple[str, str]]:
    "Name and entry of every variant of every term that trains a segmentation network."
    for name, variants in TERMS.items():
        for variant, (kind, _) in variants.items():
            if kind.trains == 'segmentation': yield name, f'{name}={variant}'

def comparisons(only: str | None = None) -> Iterator[Comparison]:
    "All, or those of one term or variant."
    plain = dict(zip(PLAIN, PLAIN))
    for name, entry in segmentation_entries():
        if entry in ('seg=cross-entropy', 'adv=output'): continue  # these are the plain step
        if only not in (None, name, entry): continue
        makers = _makers_of(_parse_entry(entry)[1].needs)  # a teacher, where the term learns from one
        with_makers = plain | dict(zip(makers, makers))
        yield Comparison(entry, tuple((with_makers | {name: entry}).values()))
        if name in INSTEAD: yield Comparison(entry, ('seg', *makers, entry))
    if only in (None, *TOGETHER): yield Comparison('masked', ('seg', *TOGETHER), ', '.join(TOGETHER))

class Cost(NamedTuple):
    "What a comparison found."
    milliseconds: float  # of the plain step
    ratio: float         # median over pairs of readings …
    low: float           # … and its quartiles
    high: float
    held: float          # MiB at most, without …
    held_with: float     # … and with the term

def compare(comparison: Comparison, conditions: Conditions) -> Cost:
    "Measure both steps in turns."
    steps = PLAIN, comparison.changed
    trainers = [prepare(entries, conditions, heads=comparison.heads) for entries in steps]
    batches = repeat(pair(comparison.entry, conditions))
    rounds = conditions.warm_up + conditions.repeats
    rows = [[reading(trainer, batches, conditions) for trainer in trainers] for _ in range(rounds)]
    measured = torch.tensor(rows[conditions.warm_up:], dtype=torch.float64)  # (repeats, 2 steps, 2 readings)
    (without, added), held = measured.permute(2, 1, 0)
    quartiles = torch.tensor([.25, .5, .75], dtype=torch.float64)
    low, ratio, high = (added/without).quantile(quartiles).tolist()
    return Cost(1000*without.median().item(), ratio, low, high, *held.amax(1).tolist())

def aim(conditions: Conditions) -> float:
    "The ratio that a term should not exceed."
    return 1.10 if conditions.gpu else 1.15

def line(comparison: Comparison, cost: Cost, conditions: Conditions) -> str:
    "A row of the printed table."
    mark = ' !' if cost.ratio > aim(conditions) else ''
    quartiles = f'{cost.low:.3f} – {cost.high:.3f}'
    memory = f'{cost.held:.0f} → {cost.held_with:.0f}'
    return f'{comparison.label:28}{cost.milliseconds:>9.1f}{cost.ratio:>8.3f}{mark:3}{quartiles}  {memory}'

def size(text: str) -> tuple[int, int]:
    "(width, height) from WIDTHxHEIGHT."
    width, height = text.split('x')
    return int(width), int(height)

def parse() -> tuple[Conditions, str | None, Path | None]:
    "The conditions, the term to measure if not all, and where to write."
    parser = ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add('--backbone', default='small', choices=BACKBONES)
    add('--size', default=(192, 96), type=size, help='WIDTHxHEIGHT of both domains')
    add('--batch', default=4, type=int, help='images of each domain')
    add('--repeats', default=10, type=int, help='pairs of readings')
    add('--burst', type=int, help='steps in one reading; 1, on a GPU 5, as training does not wait for each')
    add('--device', default='cuda' if torch.cuda.is_available() else 'cpu', choices=('cpu', 'cuda'))
    add('--precision', default='no', choices=('no', 'bf16'))
    add('--clock', default='wall', choices=('wall', 'cpu'), help='cpu: processor time, on a busy machine')
    add('--only', help='a term, such as isia, or one variant, such as isia=map')
    add('--statistics', default='both', choices=('both', 'target'), help='whose passes move BatchNorm')
    add('--out', type=Path, help='a CSV of the ratios')
    args = parser.parse_args()
    _parse_entry(args.only or 'seg')  # its error lists what there is
    burst = args.burst or (5 if args.device == 'cuda' else 1)
    conditions = Conditions(args.backbone, args.size, args.size, args.batch, args.device, args.precision,
                            args.repeats, burst=burst, clock=args.clock, statistics=args.statistics)
    return conditions, args.only, args.out

def row(comparison: Comparison, cost: Cost) -> dict:
    "The same as a row of the CSV."
    return dict(term=comparison.label, plain_ms=f'{cost.milliseconds:.1f}', ratio=f'{cost.ratio:.3f}',
                lower_quartile=f'{cost.low:.3f}', upper_quartile=f'{cost.high:.3f}')

def main():
    conditions, only, out = parse()
    device = f'CPU, {torch.get_num_threads()} of {os.cpu_count()} threads'
    if conditions.gpu: device = torch.cuda.get_device_name()
    versions = f'udalit {udalit.__version__}, torch {torch.__version__}, Python {platform.python_version()}'
    print(device, versions, conditions, '', sep='\n')
    print(f'{"term":28}{"plain ms":>9}{"ratio":>8}   quartiles      MiB (GPU)', flush=True)
    rows = []
    for comparison in comparisons(only):
        cost = compare(comparison, conditions)
        print(line(comparison, cost, conditions), flush=True)
        rows.append(row(comparison, cost))
    if out is None: return
    with out.open('w', newline='', encoding='utf-8') as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)

if __name__ == '__main__': main()
