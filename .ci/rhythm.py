"""How do the notebooks read? Which exports are shown at work before the next one, how large are cells, what is left in outputs.

`python .ci/rhythm.py` prints a table; .ci/check.py holds the limits. An export is shown if a code cell between it and the next exported
cell names it. Cells of imports and of single words do not count."""
import ast, json, re, sys
from dataclasses import dataclass, field
from pathlib import Path

NBS = Path(__file__).resolve().parent.parent/'nbs'
EXPORT = re.compile(r'^#\| *export[si]?\b(?![^\S\n]*_)', re.M)
DIRECTIVE = re.compile(r'^\s*#\|')
MAGIC = re.compile(r'^\s*[%!?]')
PROGRESS = re.compile(r'\d+%\||it/s\]|s/it\]')
BARE = re.compile(r'-?\d+(\.\d+)?|<[\w.]+ .*>')  # a number, or an object's address

def source(cell): return ''.join(cell['source'])

def parsed(cell):
    "The cell's syntax tree, without magics."
    lines = source(cell).splitlines()
    return ast.parse('\n'.join('' if MAGIC.match(line) or DIRECTIVE.match(line) else line for line in lines))

def code_lines(cell):
    "The lines that are neither blank nor directives."
    return [line for line in source(cell).splitlines() if line.strip() and not DIRECTIVE.match(line)]

def only_imports(tree):
    "Does a cell import and do nothing else?"
    return all(isinstance(node, (ast.Import, ast.ImportFrom)) or isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
               for node in tree.body)

def defined(tree):
    "The names that a cell defines at its top level."
    names = set()
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)): names.add(node.name)
        targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        names |= {n.id for t in targets for n in ast.walk(t) if isinstance(n, ast.Name)}
    return names - {'__all__'}

@dataclass
class Rhythm:
    "What was measured of one notebook."
    exports: int = 0        # exported cells that define something
    shown: int = 0          # of these, those that a cell before the next one uses
    longest_run: int = 0    # most exported cells in a row without an example
    largest: int = 0        # lines of the largest exported cell
    widest: int = 0         # characters of the longest line, prose included
    pictures: int = 0       # pictures, tables and printed results
    accidents: list = field(default_factory=list)  # outputs that nobody meant

def shown_outputs(cell):
    "How many outputs of a cell are pictures, tables or printed text."
    outputs = cell.get('outputs', [])
    return sum('text' in out or any(kind.startswith('image/') or kind in ('text/html', 'text/markdown')
                                    for kind in out.get('data', {})) for out in outputs)

def accident(cell):
    "An output that nobody meant: a progress bar, a bare number, an object's address; else None."
    for out in cell.get('outputs', []):
        text = ''.join(out.get('text', []))
        if PROGRESS.search(text): return 'a progress bar'
        data = out.get('data', {})
        plain = ''.join(data.get('text/plain', [])).strip()
        if set(data) == {'text/plain'} and BARE.fullmatch(plain): return plain[:60]
    return None

def measure(path):
    "The rhythm of one notebook."
    cells, found, run = json.loads(Path(path).read_text(encoding='utf-8'))['cells'], Rhythm(), 0
    pending = None  # names of the last exported cell, as long as nobody has used them
    for cell in cells:
        text = source(cell)
        found.widest = max([found.widest, *map(len, text.splitlines())])
        if cell['cell_type'] != 'code' or not text.strip():
            found.pictures += len(re.findall(r'!\[|<img', text))
            continue
        found.pictures += shown_outputs(cell)
        if (what := accident(cell)): found.accidents.append(f'{cell["id"]}: {what}')
        tree = parsed(cell)
        if EXPORT.search(text):
            if only_imports(tree): continue
            found.largest = max(found.largest, len(code_lines(cell)))
            run += 1
            found.longest_run = max(found.longest_run, run)
            if (names := defined(tree)):
                found.exports += 1
                pending = names
        elif pending and any(re.search(rf'(?<!\w){re.escape(name)}\b', text) for name in pending):
            found.shown += 1
            pending, run = None, 0
    return found

def notebooks(): return sorted(p for p in NBS.rglob('*.ipynb') if not any(part[0] in '._' for part in p.relative_to(NBS).parts))

def main():
    print(f'{"notebook":36}{"exports":>8}{"shown":>7}{"in a row":>9}{"lines":>6}{"width":>6}{"outputs":>8}  accidents')
    for path in notebooks():
        r = measure(path)
        share = f'{100*r.shown/r.exports:.0f} %' if r.exports else '–'
        print(f'{path.relative_to(NBS).as_posix():36}{r.exports:8}{share:>7}{r.longest_run:9}{r.largest:6}{r.widest:6}{r.pictures:8}'
              f'  {"; ".join(r.accidents)}')

if __name__ == '__main__': sys.exit(main())
