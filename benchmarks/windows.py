"""A picture of 20,000×10,000 pixels and 19 classes: memory, speed, a kill in the middle, and windows by hand.

    python benchmarks/windows.py                  # on the GPU, if there is one; else on the CPU
    python benchmarks/windows.py --device cpu
    python benchmarks/windows.py --size 1500x900  # a rehearsal
    python benchmarks/windows.py --network one    # one convolution: the work and memory around a network

A child process labels the picture, as `udalit predict` does, and is killed without warning after a third of
its blocks. A second one goes on to the end. Some pixels are then labelled by hand, from the windows that show
them. The numbers are written to benchmarks/results/windows-DEVICE.csv.
"""
import json
import random
import resource
import subprocess
import sys
import time
from argparse import ArgumentParser
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import nn

from udalit.data.datasets import folders
from udalit.data.windows import _find_windows, _part_reader
from udalit.evaluation.predicted import _Predicted, _predict_pictures
from udalit.files import read_ids
from udalit.labels import CITYSCAPES
from udalit.nets.generators import deeplab_v2
from udalit.predict import _block_count, probabilities
from udalit.worlds.streets import Streets

WINDOW = 512, 512
WINDOWS = _find_windows(window=WINDOW)


def draw(folder: Path, size: tuple[int, int], ending: str):
    "Write a picture of drawn streets beside and below each other."
    scenes = [sample['image'].permute(1, 2, 0).numpy() for sample in Streets('real', 4, size=(960, 480))]
    block = np.vstack([np.hstack(scenes[:2]), np.hstack(scenes[2:])])  # (960, 1920, 3)
    down, across = -(-size[1]//960), -(-size[0]//1920)
    picture = np.tile(block, (down, across, 1))[:size[1], :size[0]]
    folder.mkdir(parents=True, exist_ok=True)
    how = dict(compress_level=1) if ending == 'png' else dict(compression='tiff_lzw', tiffinfo={278: 64})
    Image.fromarray(picture).save(folder/f'large.{ending}', **how)


def network(name: str, device: str) -> nn.Module:
    "An untrained network of 19 classes, the same each time."
    torch.manual_seed(0)
    made = deeplab_v2('small', 19) if name == 'small' else nn.Conv2d(3, 19, 8, 8)
    return made.eval().to(device)


def label(photos: Path, out: Path, name: str, device: str):
    "What a child does: label the folder; print seconds and peak memory."
    begun, predicted = time.perf_counter(), _Predicted(folders(photos), out)
    _predict_pictures(network(name, device), predicted, dict(window=WINDOW), 'benchmark')
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss*1024
    card = torch.cuda.max_memory_allocated() if device == 'cuda' else 0
    print(json.dumps(dict(seconds=round(time.perf_counter() - begun, 1), peak_gb=round(peak/1e9, 2),
                          card_gb=round(card/1e9, 2))))


def start(*arguments) -> subprocess.Popen:
    "A child process that labels."
    command = [sys.executable, __file__, '--child', *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def blocks_done(out: Path) -> int:
    "As the record of what is not finished says."
    record = out/'unfinished'/'done.json'
    return json.loads(record.read_text())['blocks'] if record.exists() else 0


def by_hand(photos: Path, model: nn.Module, x: int, y: int) -> tuple[int, float]:
    "The label of one pixel, and by how much it leads."
    seen, total = folders(photos), 0.
    read, size = _part_reader(seen, 0), seen.size_of(0)
    for left, across in WINDOWS.along(size, 0):
        for top, down in WINDOWS.along(size, 1):
            if not (left <= x < left + WINDOW[0] and top <= y < top + WINDOW[1]): continue
            image = read((left, top, left + WINDOW[0], top + WINDOW[1]))
            p = probabilities(model, image[None])[0, :, y - top, x - left]
            total = total + p*across[x - left].item()*down[y - top].item()
    best = total.topk(2)
    return best.indices[0].item(), (best.values[0] - best.values[1]).item()


def measure(size: tuple[int, int], ending: str, name: str, device: str, points: int) -> dict:
    "Label a picture with a kill in the middle, and compare."
    with TemporaryDirectory() as folder:
        photos, out = Path(folder)/'photos', Path(folder)/'out'
        draw(photos, size, ending)
        total = _block_count(size, WINDOWS)
        first = start(photos, out, name, device)
        while first.poll() is None and blocks_done(out) < total//3: time.sleep(.05)
        first.kill()
        first.communicate()
        killed = blocks_done(out)
        said = json.loads(start(photos, out, name, device).communicate()[0].splitlines()[-1])
        ids = read_ids(out/'ids'/'large.png')
        generator, equal, model = random.Random(0), 0, network(name, device)
        for _ in range(points):
            x, y = generator.randrange(size[0]), generator.randrange(size[1])
            best, lead = by_hand(photos, model, x, y)
            equal += ids[y, x] == best or lead < 1e-5
    windows = len(WINDOWS.along(size, 0))*len(WINDOWS.along(size, 1))
    return dict(picture=f'{size[0]}x{size[1]}', file=ending, network=name, classes=len(CITYSCAPES),
                windows=windows, blocks=total, killed_after=killed, **said, by_hand=points, equal=equal)


def main():
    parser = ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--size', default='20000x10000')
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    parser.add_argument('--points', type=int, default=40)
    parser.add_argument('--files', default='png,tif')
    parser.add_argument('--out', default=Path(__file__).parent/'results')
    parser.add_argument('--network', default='small', choices=['small', 'one'])
    parser.add_argument('--child', nargs=4)
    given = parser.parse_args()
    if given.child:
        photos, out, name, device = given.child
        return label(Path(photos), Path(out), name, device)
    size = tuple(map(int, given.size.split('x')))
    asked = given.network, given.device, given.points
    rows = [measure(size, ending, *asked) for ending in given.files.split(',')]
    name = torch.cuda.get_device_name().lower().replace(' ', '-') if given.device == 'cuda' else 'cpu'
    path = Path(given.out)/f'windows-{name}.csv'
    pd.DataFrame(rows).to_csv(path, index=False)
    print(path.read_text())


if __name__ == '__main__': main()
