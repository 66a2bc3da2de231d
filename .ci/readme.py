"""README.md from nbs/index.ipynb: `python .ci/readme.py` runs the notebook, keeps its outputs and writes README.md;
`--check` compares both with what is there. (nbdev_readme would need Quarto.)

Markdown cells are taken as they are, code cells as fenced Python with what they printed, or as that alone if they say
`echo: false`; pictures become files in nbs/images."""
import base64, difflib, json, re, sys
from contextlib import chdir
from pathlib import Path

from execnb.nbio import read_nb, write_nb
from execnb.shell import CaptureShell
from nbdev.clean import clean_nb

ROOT = Path(__file__).resolve().parent.parent
NBS,README = ROOT/'nbs',ROOT/'README.md'
LINK = re.compile(r'(\]\(|src="|href=")(?![a-z]+:|#|/)([^)"\s]+)')
HEAD = '<!-- Made from nbs/index.ipynb by .ci/readme.py: edit the notebook. -->'
HIDDEN = re.compile(r'^#\| *(hide|export|exporti|default_exp)\b', re.M)
SILENT = re.compile(r'^#\| *echo: *false', re.M)

def executed(path):
    "The notebook with the outputs that it gives now."
    nb = read_nb(path)
    with chdir(path.parent): CaptureShell(path).run_all(nb, exc_stop=True)
    clean_nb(nb)
    return nb

def output(out, cell, files):
    "One stored output as markdown; pictures are added to `files`."
    data = {k: ''.join(v) for k,v in out.get('data', {}).items()}
    if 'image/png' in data:
        picture = NBS/'images'/f'{cell["id"]}.png'
        files[picture] = base64.b64decode(data['image/png'])
        return f'![{cell["id"]}](images/{picture.name})'
    if 'text/markdown' in data: return data['text/markdown']
    text = ''.join(out.get('text', '')) or data.get('text/plain', '')
    return f'```\n{text.rstrip()}\n```' if text else ''

def readme(nb):
    "The text of README.md, and the pictures it needs."
    parts,files = [],{}
    for cell in nb['cells']:
        source = ''.join(cell['source'])
        if cell['cell_type'] == 'markdown': parts.append(source)
        elif cell['cell_type'] == 'code' and source and not HIDDEN.search(source):
            code = re.sub(r'^#\|.*\n', '', source, flags=re.M).strip()
            if not SILENT.search(source): parts.append(f'```python\n{code}\n```')
            parts += [output(o, cell, files) for o in cell['outputs']]
    text = '\n\n'.join([HEAD, *(p.strip() for p in parts if p.strip())])
    return LINK.sub(lambda m: m[1]+'nbs/'+m[2], text).replace('nbs/../', '')+'\n', files

def main():
    index = NBS/'index.ipynb'
    nb = executed(index)
    text,files = readme(nb)
    if '--check' not in sys.argv:
        write_nb(nb, index)
        README.write_text(text, encoding='utf-8', newline='\n')
        for path,data in files.items():
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(data)
    kept,_ = readme(json.loads(index.read_text(encoding='utf-8')))
    if kept != text: sys.exit('nbs/index.ipynb: other outputs than it gives now: run python .ci/readme.py')
    was = README.read_text(encoding='utf-8') if README.exists() else ''
    lost = [m[2] for m in LINK.finditer(text) if not (ROOT/m[2].partition('#')[0]).exists()]
    stale = [p.name for p,data in files.items() if not p.exists() or p.read_bytes() != data]
    if lost: sys.exit(f'README.md: no such file: {", ".join(lost)}')
    if was != text or stale:
        diff = difflib.unified_diff(was.split('\n'), text.split('\n'), lineterm='')
        sys.exit('README.md is out of date: run python .ci/readme.py\n'+'\n'.join([*stale, *diff]))

if __name__ == '__main__': main()
