"""How fast are training images read: from their files, and prepared (`udalit prepare`)?

    python benchmarks/loading.py                 # at the sizes of GTA5 and Cityscapes
    python benchmarks/loading.py --images 4      # fewer images

Drawn scenes are written in the form of the data sets, GTA5's at 1914×1052, read at 1280×720, and Cityscapes'
at 2048×1024, read at 1024×512. Both ways are measured in turns, A B A B …, in one process without workers:
processor time a sample, and samples a second. The files were just written, so they come from the system's
cache; on a disk, the bytes of each count, too.
"""
import sys
import time
from argparse import ArgumentParser
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import pandas as pd
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # the package of this checkout

from udalit.data.datasets import Scenes, cityscapes, gta5
from udalit.data.prepared import _prepare_set
from udalit.data.transforms import preprocess
from udalit.worlds.streets import Streets
from udalit.worlds.written import _write_cityscapes, _write_gta5

def drawn(folder: Path, images: int) -> dict[str, tuple[Scenes, tuple[int, int]]]:
    "Scenes as files, and the (width, height) at which a network sees them."
    game = _write_gta5(Streets('game', images, (1914, 1052), keep=False), folder/'gta5')
    streets = Streets('real', images, (2048, 1024), keep=False)
    city = _write_cityscapes(streets, folder/'cityscapes', 'train', labels=False)
    return {'gta5': (gta5(game), (1280, 720)),
            'cityscapes': (cityscapes(city, 'train', labelled=False), (1024, 512))}

def reading(dataset: Scenes, size: tuple[int, int]) -> tuple[float, float]:
    "Seconds of the clock and of the processor for a sample."
    transform = preprocess(size)
    clock, processor = time.perf_counter(), time.process_time()
    for sample in dataset: transform(sample)
    return (time.perf_counter() - clock)/len(dataset), (time.process_time() - processor)/len(dataset)

def file_bytes(paths) -> float: return sum(Path(path).stat().st_size for path in paths)/len(paths)

def compare(name: str, dataset: Scenes, size: tuple[int, int], folder: Path, rounds: int) -> list[dict]:
    "Both ways of reading a data set."
    start = time.process_time()
    ready = _prepare_set(dataset, folder, size, workers=1, progress=False)
    preparing = (time.process_time() - start)/len(dataset)
    ways = dict(files=dataset, prepared=ready)
    seconds = {way: [] for way in ways}
    for _ in range(rounds):
        for way, images in ways.items(): seconds[way].append(reading(images, size))
    stored = dict(files=file_bytes(dataset.images), prepared=3*size[0]*size[1])
    rows = []
    for way, readings in seconds.items():
        clock, processor = (median(values) for values in zip(*readings))
        rows.append(dict(data=name, way=way, samples_a_second=round(1/clock, 1),
                         processor_ms=round(1000*processor, 1), image_mb=round(stored[way]/1e6, 2),
                         preparing_ms=round(1000*preparing, 1) if way == 'prepared' else ''))
    return rows

def main():
    parser = ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--images', type=int, default=12, help='of each data set')
    parser.add_argument('--rounds', type=int, default=5, help='readings of each way')
    parser.add_argument('--out', type=Path, help='a CSV for the results')
    options = parser.parse_args()
    torch.set_num_threads(1)
    with TemporaryDirectory() as folder:
        rows = []
        for name, (dataset, size) in drawn(Path(folder), options.images).items():
            rows += compare(name, dataset, size, Path(folder)/f'ready-{name}', options.rounds)
    for row in rows: print(*(f'{key} {value}' for key, value in row.items() if value != ''), sep=', ')
    if options.out is not None: pd.DataFrame(rows).to_csv(options.out, index=False)

if __name__ == '__main__': main()
