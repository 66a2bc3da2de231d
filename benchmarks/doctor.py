"""How many files a second does the doctor (`udalit check`) look at?

    python benchmarks/doctor.py                  # 25,000 small files; scenes of GTA5's and Cityscapes' sizes
    python benchmarks/doctor.py --files 2500     # fewer small files

The small files are the task `folders` with pictures of 64×64: four in five of them the source's images and
masks. Every file is decoded, compared with all others, and counted. The files were just written, so they come
from the system's cache; on a disk, the bytes of each count, too. `processor_ms` is processor time for a file,
of all processes together; it says what one core can do where others share the machine.
"""
import os
import sys
import time
from argparse import ArgumentParser
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
import pandas as pd
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # the package of this checkout

from udalit.data.doctor import diagnose
from udalit.worlds.streets import Streets
from udalit.worlds.written import _write_cityscapes, _write_gta5

def write_small(root: Path, files: int):
    "Pictures of 64×64 with masks of two classes, none like another."
    rng = np.random.default_rng(0)
    counts = dict(source=files*2//5, target=files*3//25, test=files//25)
    for part, count in counts.items():
        for kind in ('images', 'masks')[:1 if part == 'target' else 2]: (root/part/kind).mkdir(parents=True)
        for i in range(count):
            coarse = rng.integers(0, 200, (16, 16, 3)).astype(np.uint8)
            picture = cv2.resize(coarse, (64, 64)) + rng.integers(0, 50, (64, 64, 3)).astype(np.uint8)
            cv2.imwrite(str(root/part/'images'/f'{i:05}.png'), picture)
            mask = (picture[..., 0] > 125).astype(np.uint8)
            if part != 'target': cv2.imwrite(str(root/part/'masks'/f'{i:05}.png'), mask)
    (root/'classes.txt').write_text('ground\nroof\n')

def write_large(root: Path, images: int):
    "Drawn scenes at the sizes of GTA5 and Cityscapes."
    _write_gta5(Streets('game', images, (1914, 1052), keep=False), root/'gta5')
    for n, split in enumerate(('train', 'val')):
        _write_cityscapes(Streets('real', images, (2048, 1024), seed=n, keep=False), root/'cityscapes', split)

def processor_time() -> float: return sum(os.times()[:4])

def measure(data: str, task: str, root: Path, workers: int) -> dict:
    "The doctor's time for a task."
    clock, processor = time.perf_counter(), processor_time()
    diagnosis = diagnose(task, root, workers=workers, progress=False)
    clock, processor = time.perf_counter() - clock, processor_time() - processor
    assert diagnosis.sound, diagnosis
    seen = [seen for part in diagnosis.parts.values() for seen in part.seen]
    files = sum(1 if one.label is None else 2 for one in seen)
    return dict(data=data, files=files, workers=workers, seconds=round(clock, 1),
                files_a_second=round(files/clock, 1), processor_ms=round(1000*processor/files, 2))

def main():
    parser = ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--files', type=int, default=25_000, help='small ones')
    parser.add_argument('--images', type=int, default=12, help='large ones, of each set')
    parser.add_argument('--out', type=Path, help='a CSV for the results')
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    with TemporaryDirectory() as folder:
        small, large = Path(folder)/'small', Path(folder)/'large'
        write_small(small, options.files)
        write_large(large, options.images)
        for workers in (0, 2): rows.append(measure('64×64', 'folders', small, workers))
        for workers in (0, 2): rows.append(measure('gta5-cityscapes', 'gta5-cityscapes', large, workers))
    for row in rows: print(*(f'{key} {value}' for key, value in row.items()), sep=', ')
    if options.out is not None: pd.DataFrame(rows).to_csv(options.out, index=False)

if __name__ == '__main__': main()
