"""What does each loss cost? The time of a training step with it, as a ratio to the plain adversarial step (seg + adv).

Both steps are whole optimiser steps of `udalit.training.step.Trainer`: two networks of the same first weights learn from the same drawn
streets, held in memory, A B A B … in one process, so that whatever else the machine does slows both.
`+ X`: seg + adv with X added. `X` alone: with X in the place of the term of its name, or of adv where it is the method's adversary.
`ratio` is the median of time with / time without, pair by pair, with its quartiles. The aim: at most 10 % more on a GPU, 15 % on a
CPU; `!` marks what exceeds it. `MiB`: the most a step holds beyond weights, optimisers and data, without → with.
No network is trained: 5 is added to the logit of one class at each pixel of the feature map. Which one, a drawn scene says, 3 % of its
pixels exchanged for another's. So regions and class means are those of a fair prediction, whatever the backbone; a random ResNet
would predict a few classes only. Memories are full; the pseudo-labels of terms that read some leave a third of the pixels out.
    python benchmarks/terms.py --backbone resnet101 --size 1024x512 --batch 1 --device cuda --precision bf16
"""
import os, platform, time
from argparse import ArgumentParser
from itertools import repeat

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import default_collate

import udalit
from udalit.data.transforms import as_plain
from udalit.worlds.streets import Streets
from udalit.labels import CITYSCAPES, IGNORE
from udalit.losses.matching import Matching
from udalit.methods.plans import build_terms, parse_entry
from udalit.methods.catalogue import settings_for
from udalit.losses.terms import TERMS, Setup
from udalit.nets.generators import BACKBONES, deeplab_v2
from udalit.nets.regions import at_stride
from udalit.runs.fit import new_accelerator
from udalit.training.step import Trainer

LABELLED = 'seg_target', 'kld', 'intra'      # read pseudo-labels of the target
TWO_HEADS = 'seg=focal', 'weights', 'local'  # compare two heads; the plain step then has them, too
INSTEAD = 'ent', 'local', 'fine', 'intra'    # stand in the place of adv in their methods

class Confident(nn.Module):
    "A network that is sure of given maps, one a domain."
    decoders, head_modules = 2, ('network.heads', 'network.auxiliary')  # 2: it wants to know the domain
    def __init__(self, network: nn.Module, batches: dict):
        super().__init__()
        self.network, self.num_classes, self.normalize = network, network.num_classes, network.normalize
        for domain, batch in batches.items(): self.register_buffer(domain, self.push(batch['label'].long()))

    def push(self, ids):  # (b, H, W) → (b, k, h, w)
        ids = torch.where(torch.rand(ids.shape) < .03, ids.roll(1, 0).flip(-1), ids)
        ids = at_stride(ids, self.network(torch.zeros(2, 3, *ids.shape[-2:])).features.shape[-2:])
        return 5*F.one_hot(ids.clamp(max=self.num_classes), self.num_classes + 1)[..., :-1].permute(0, 3, 1, 2).float()

    def forward(self, images, domain):
        maps, push = self.network(images), getattr(self, domain)
        return maps._replace(logits=maps.logits + push.to(maps.logits.dtype), heads=tuple(h + push.to(h.dtype)/2 for h in maps.heads))

def draw(domain: str, args) -> dict:
    "A batch of drawn scenes; its label is the truth."
    return default_collate([as_plain(sample) for sample in Streets(domain, args.batch, size=args.size)])

def prepare(entries: tuple, batches: dict, heads: int, args, accelerator) -> Trainer:
    "All that a step with these terms needs; memories are full."
    torch.manual_seed(0)
    settings = settings_for(args.backbone, batch_size=args.batch, heads=heads)
    network = deeplab_v2(args.backbone, len(CITYSCAPES), **settings.of_network())
    terms = build_terms(entries, Setup(network, settings, CITYSCAPES), dict(local=dict(preheat=0.)))  # CLAN's code, later on
    for memory in (t.memory for t in terms.values() if isinstance(t, Matching)):
        memory.samples.normal_(), memory.written.fill_(2*memory.samples.shape[1])
    return Trainer(Confident(network, batches), terms, settings, accelerator)

def reading(trainer: Trainer, batches, args) -> tuple[float, float]:
    "Seconds of a step, and the most MiB it held beyond what was there before."
    gpu, clock = args.device == 'cuda', time.process_time if args.clock == 'cpu' else time.perf_counter
    if gpu: torch.cuda.synchronize(), torch.cuda.reset_peak_memory_stats()
    before, start = torch.cuda.memory_allocated() if gpu else 0, clock()
    for _ in range(args.burst): trainer.step(batches)
    if gpu: torch.cuda.synchronize()
    return (clock() - start)/args.burst, (torch.cuda.max_memory_allocated() - before)/2**20 if gpu else 0

def compare(entry: str, plain: tuple, changed: tuple, args, accelerator) -> str:
    "A row of the table."
    batches = dict(source=draw('game', args), target=draw('real', args))  # each scene with its label …
    trainers = [prepare(entries, batches, 1 + entry.startswith(TWO_HEADS), args, accelerator) for entries in (plain, changed)]
    truth = batches['target'].pop('label')                                # … the target without, from here on
    confidence = torch.randint(128, 256, truth.shape, dtype=torch.uint8)  # (b, H, W)
    if entry.startswith(LABELLED): batches['target'] |= dict(label=truth.masked_fill(confidence < 170, IGNORE), confidence=confidence)
    batches = [{k: v.to(accelerator.device) if torch.is_tensor(v) else v for k, v in b.items()} for b in batches.values()]
    rows = [[reading(t, repeat(batches), args) for t in trainers] for _ in range(3 + args.repeats)]  # 3 to warm up
    accelerator.free_memory()  # it would keep the optimisers
    (without, added), held = torch.tensor(rows[3:], dtype=torch.float64).permute(2, 1, 0)
    held, (low, ratio, high) = held.amax(1), (added/without).quantile(torch.tensor([.25, .5, .75]).double()).tolist()
    name, mark = '+ '*(len(changed) > len(plain)) + entry, ' !'[ratio > (1.10 if args.device == 'cuda' else 1.15)]
    return f'{name:28}{1000*without.median():>9.1f}{ratio:>8.3f}{mark}  {low:.3f} – {high:.3f}  {held[0]:.0f} → {held[1]:.0f}'

def steps(only: str | None):
    "(entry, terms of the plain step, terms of the other)"
    plain = dict(seg='seg', adv='adv')
    for name, entry in [(name, f'{name}={variant}') for name, variants in TERMS.items() for variant, (kind, _) in variants.items()
                        if kind.trains == 'segmentation']:
        if entry in ('seg=cross-entropy', 'adv=output') or only not in (None, name, entry): continue
        yield entry, tuple(plain), tuple((plain | {name: entry}).values())
        if name in INSTEAD: yield entry, tuple(plain), ('seg', entry)

def main():
    add = (parser := ArgumentParser(description=__doc__.splitlines()[0])).add_argument
    add('--backbone', default='small', choices=BACKBONES)
    add('--size', default=(192, 96), type=lambda text: tuple(map(int, text.split('x'))), help='WIDTHxHEIGHT')
    add('--batch', default=4, type=int, help='images of each domain')
    add('--repeats', default=10, type=int, help='pairs of readings')
    add('--burst', type=int, help='steps in one reading; 1, on a GPU 5, as training does not wait for each')
    add('--device', default='cuda' if torch.cuda.is_available() else 'cpu', choices=('cpu', 'cuda'))
    add('--precision', default='no', choices=('no', 'bf16'))
    add('--clock', default='wall', choices=('wall', 'cpu'), help='cpu: processor time, where others use the machine')
    add('--only', help='a term, such as isia, or one variant, such as isia=map')
    args = parser.parse_args()
    args.burst = args.burst or (5 if args.device == 'cuda' else 1)
    parse_entry(args.only or 'seg')  # its error lists what there is
    accelerator = new_accelerator(settings_for(args.backbone), args.precision, 'cpu' if args.device == 'cpu' else None)
    device = torch.cuda.get_device_name() if args.device == 'cuda' else f'CPU, {torch.get_num_threads()} of {os.cpu_count()} threads'
    print(f'{device}; udalit {udalit.__version__}, torch {torch.__version__}, Python {platform.python_version()}', vars(args), '',
          f'{"term":28}{"plain ms":>9}{"ratio":>8}   quartiles      MiB (GPU)', sep='\n', flush=True)
    for step in steps(args.only): print(compare(*step, args, accelerator), flush=True)

if __name__ == '__main__': main()
