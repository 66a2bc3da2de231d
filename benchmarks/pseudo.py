"""What do pseudo-labels cost? Processor time, memory and disk, as ratios to a plain account of the same.

The plain account is written here, in the manner of the papers' public code: soft-max, enlargement, arg-max
and maximum in NumPy, all maps kept in memory, a sort for each class, a second walk that takes labels away,
one PNG an image. Both label the same drawn streets, held in memory, with the same network, which has learned
for a while on the other domain so that its confidences are those of a trained one. They take turns in one
process: A B A B …

`ratio` is the median of ours / plain, turn by turn, with the least and the most; processor time of all
threads. `MiB`: the highest point of a process of its own over what it held before the first image. `KiB`: the
files of an image. `paper` is the default; `official` labels as SIM's public code does. `same_labels`: the
share of the pixels whose label is the plain account's.

    python benchmarks/pseudo.py --images 200 --size 192x96 --csv benchmarks/results/pseudo.csv
"""
import csv
import inspect
import re
import subprocess
import sys
import tempfile
import time
from argparse import ArgumentParser
from copy import deepcopy
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # the package of this checkout

from udalit.core import _peak_memory
from udalit.data.loaders import test_loader
from udalit.data.transforms import Preprocess, normalize_batch
from udalit.labels import IGNORE
from udalit.losses.segmentation import cross_entropy
from udalit.nets.generators import deeplab_v2
from udalit.pseudo import PseudoLabelled, label_set
from udalit.worlds.streets import Streets

WAYS = dict(paper={}, official=dict(upsample='probabilities', keep='from'))

def trained_network(steps: int = 150):
    "The small network after a few steps on drawn streets of the game's style."
    torch.manual_seed(0)
    network, scenes = deeplab_v2('small', 19).train(), Streets('game', 4*steps, keep=False)
    optimizer = torch.optim.SGD(network.parameters(), lr=.02, momentum=.9)
    for step in range(steps):
        batch = [scenes[4*step + i] for i in range(4)]
        images, labels = (torch.stack([sample[key] for sample in batch]) for key in ('image', 'label'))
        logits = network(normalize_batch(images, 'imagenet')).logits
        enlarged = F.interpolate(logits, labels.shape[-2:], mode='bilinear', align_corners=True)
        loss = cross_entropy(enlarged, labels.long())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return network.eval()

@torch.no_grad()
def plain(network, scenes, transform, folder: Path):
    "All maps in memory, a sort for each class, then the labels."
    names, labels, confidences = [], [], []
    for batch in test_loader(scenes, transform):
        logits = network(normalize_batch(batch['image'], 'imagenet')).logits
        size = batch['image'].shape[-2:]
        p = F.interpolate(logits.softmax(1), size, mode='bilinear', align_corners=True)[0].numpy()
        p = p.transpose(1, 2, 0)
        names.append(batch['name'][0])
        labels.append(np.argmax(p, axis=2))
        confidences.append(np.max(p, axis=2))
    labels, confidences, thresholds = np.stack(labels), np.stack(confidences), np.zeros(19)
    for k in range(19):
        values = np.sort(confidences[labels == k])
        if len(values): thresholds[k] = min(.9, values[min(round(len(values)*.5), len(values) - 1)])
    for name, label, confidence in zip(names, labels, confidences):
        for k in range(19): label[(confidence < np.float32(thresholds[k])) & (label == k)] = IGNORE
        Image.fromarray(label.astype(np.uint8)).save(folder/f'{name}.png')

def ours(way: str):
    "`label_set` as it is by default, or as SIM's public code; earlier versions have one way."
    known = inspect.signature(label_set).parameters
    how = {name: value for name, value in WAYS[way].items() if name in known}
    return partial(label_set, progress=False, **how)

KINDS = dict(plain=plain, paper=ours('paper'), official=ours('official'))

def weight_of(folder: Path) -> float:
    "KiB of the PNGs."
    return sum(file.stat().st_size for file in folder.glob('**/*.png'))/1024

def peak_of(kind: str, images: int, size: tuple[int, int]) -> float:
    "MiB that a process of its own takes at most, above what it had before the first image."
    asked = ['--peak', kind, '--images', str(images), '--size', f'{size[0]}x{size[1]}']
    return float(subprocess.check_output([sys.executable, __file__, *asked], text=True).split()[-1])

def highest() -> float:
    "MiB at the highest point of this process. Linux is asked itself: `ru_maxrss` begins with the parent's."
    try:
        return int(re.search(r'VmHWM:\s+(\d+)', Path('/proc/self/status').read_text())[1])/2**10
    except OSError:
        return _peak_memory()/2**20

def measure_peak(kind: str, images: int, size: tuple[int, int]) -> float:
    "MiB above the highest point before the first image, when the network has seen four of zeros."
    network, transform = deeplab_v2('small', 19).eval(), Preprocess(size)
    with torch.no_grad(): network(torch.zeros(4, 3, size[1], size[0]))
    before, scenes = highest(), Streets('real', images, size, labelled=False, keep=False)
    with tempfile.TemporaryDirectory() as folder: KINDS[kind](network, scenes, transform, Path(folder))
    return highest() - before

def compare(images: int, size: tuple[int, int], repeats: int) -> list[dict]:
    "Turns of all kinds; a row for each of ours."
    network, transform = trained_network(), Preprocess(size)
    networks = {kind: deepcopy(network) for kind in KINDS}  # ours changes the layout of its weights
    scenes = Streets('real', images, size, labelled=False)
    for i in range(images): scenes[i]
    seconds, weights = {kind: [] for kind in KINDS}, {}
    for _ in range(repeats):
        kept = {}
        for kind, label in KINDS.items():
            with tempfile.TemporaryDirectory() as folder:
                start = time.process_time()
                label(networks[kind], scenes, transform, Path(folder))
                seconds[kind].append(time.process_time() - start)
                weights[kind] = weight_of(Path(folder))
                if kind == 'plain':
                    kept[kind] = [np.array(Image.open(f'{folder}/{name}.png')) for name in scenes.names]
                else:
                    pseudo = PseudoLabelled(scenes, folder)
                    kept[kind] = [pseudo[i]['label'].numpy() for i in range(images)]
    peaks, rows = {kind: peak_of(kind, images, size) for kind in KINDS}, []
    for kind in WAYS:
        ratios = [mine/other for mine, other in zip(seconds[kind], seconds['plain'])]
        same = np.mean([np.mean(a == b) for a, b in zip(kept[kind], kept['plain'])])
        rows.append(dict(
            way=kind, images=images, size=f'{size[0]}x{size[1]}', ratio=round(median(ratios), 3),
            least=round(min(ratios), 3), most=round(max(ratios), 3),
            ms_plain=round(1e3*median(seconds['plain'])/images, 2),
            ms=round(1e3*median(seconds[kind])/images, 2),
            MiB_plain=round(peaks['plain'], 1), MiB=round(peaks[kind], 1),
            KiB_plain=round(weights['plain']/images, 2), KiB=round(weights[kind]/images, 2),
            same_labels=f'{same:.7f}'))
    return rows

def main():
    parser = ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--images', type=int, default=200)
    parser.add_argument('--size', default='192x96', help='width x height')
    parser.add_argument('--repeats', type=int, default=5)
    parser.add_argument('--note', default='', help='goes into the first column: which version this is')
    parser.add_argument('--csv', help='rows are added to this file')
    parser.add_argument('--peak', choices=KINDS, help='for this program itself')
    given = parser.parse_args()
    torch.set_num_threads(1)
    size = tuple(int(side) for side in given.size.split('x'))
    if given.peak: return print(measure_peak(given.peak, given.images, size))
    rows = [dict(version=given.note) | row for row in compare(given.images, size, given.repeats)]
    for row in rows: print(*(f'{key}={value}' for key, value in row.items()))
    if given.csv:
        new = not Path(given.csv).exists()
        with open(given.csv, 'a', newline='', encoding='utf-8') as file:
            writer = csv.DictWriter(file, rows[0])
            if new: writer.writeheader()
            writer.writerows(rows)

if __name__ == '__main__': main()
