"""What is done to the notebooks that nbdev has prepared in _proc, for pandoc and for Quarto alike: links to the
papers' equations, definitions as they are written, what is not public folded, and for every picture a text for
those who cannot see it."""
import ast, json, os, re
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT,NBS,PROC,LIB = HERE.parent,HERE.parent/'nbs',HERE.parent/'_proc',HERE.parent/'udalit'
DIRECTIVE = re.compile(r'^#\| *([\w-]+):? *(.*)\n?', re.M)
# equations of the papers and of self-training, as docstrings ("Source: SIM-6, SIM-9") and prose (`SIM-6`) name them
EQUATION = r'\b(?:SEG|ADV|(?:CLAN|FADA|SIM|ISIA|PIX)-(?:\d+|A1|ALG1|CCD|INTRA)|(?:DACS|DAF|MIC)-\d+)\b'
SOURCE = re.compile(r'Source: [^\n]*')
LINKED = re.compile(r'\[(`[^`\n]+`)\]\([^()\s]*\)')
MADE_FROM = re.compile(r'File to edit: (?:\.\./)+nbs/(\S+\.ipynb)')
CELL = re.compile(r'# %% \S+ #(\S+)')  # which cell the following lines of a module come from
QUOTED = rf'(?<!\[)`{EQUATION}`'
UNNAMED = rf'\[{LINKED.pattern}\]\('  # a link of ours around nbdev's
SHOWN = re.compile(r'```python\n.*?```\n', re.S)  # the signature in what nbdev shows of a definition

def read(path): return json.loads(path.read_text(encoding='utf-8'))
def write(path, nb): path.write_text(json.dumps(nb, ensure_ascii=False), encoding='utf-8')
def source_of(cell): return ''.join(cell['source'])
def options_of(cell): return dict(DIRECTIVE.findall(source_of(cell)))

def notebook_of(module):
    "The notebook that makes a module's file, below nbs."
    found = MADE_FROM.search(module.read_text(encoding='utf-8')[:300])
    return found[1] if found else None

def prepare(page, module):
    """The notebook of that name below _proc, whose module is the file `module` (or None), made ready; a list of
    what is missing."""
    nb = read(PROC/page)
    nb['cells'] = [cell for cell in nb['cells'] if 'show_doc(_' not in source_of(cell)]  # methods of what is not public
    cite(nb, page)
    show_source(nb, module)
    if module:
        written = read(NBS/page)
        fold_internals(nb, written)
        anchor_constants(nb, written, module)
    fold_imports(nb)
    undescribed = describe_pictures(nb)
    write(PROC/page, nb)
    return [f'{page.as_posix()}: the picture of cell {name} has no sentence of its own above it: add `#| fig-alt: …`'
            for name in undescribed]

# Links to equations

def linked(text, page, pattern):
    "The text with a link from each equation that matches to its row in the table of all equations."
    table = Path(os.path.relpath('equations.ipynb', page.parent)).as_posix()
    return re.sub(pattern, lambda id: f'[{id[0]}]({table}#{id[0].strip("`")})', text)

def cite(nb, page):
    """Links to equations, from the docstrings that nbdev shows and from prose. A name that nbdev made a link within
    a link of ours is a name again."""
    for cell in nb['cells']:
        if cell['cell_type'] == 'markdown':
            cell['source'] = linked(re.sub(UNNAMED, r'[\1](', source_of(cell)), page, QUOTED)
        for data in markdown_of(cell): data['text/markdown'] = re.sub(UNNAMED, r'[\1](', data['text/markdown'])
        for data in shown_by(cell):
            data['text/markdown'] = SOURCE.sub(lambda cites: linked(cites[0], page, EQUATION), data['text/markdown'])

def shown_by(cell):
    "What nbdev shows of a definition, as the output's data."
    return markdown_of(cell) if 'show_doc(' in source_of(cell) else []

def markdown_of(cell):
    "A cell's outputs in markdown, each as its data."
    for out in cell.get('outputs', []):
        if 'text/markdown' not in out.get('data', {}): continue
        out['data']['text/markdown'] = ''.join(out['data']['text/markdown'])
        yield out['data']

# Definitions as they are written

def show_source(nb, module):
    """Signatures come from the module's text, classes as classes. Where the next cell shows the whole source,
    the signature is left to it. A definition before the first section is a section of its own."""
    written = definitions(module) if module else {}
    level = '##'
    for i,cell in enumerate(nb['cells']):
        if cell['cell_type'] == 'markdown' and re.search('^## ', source_of(cell), re.M): level = '###'
        for data in shown_by(cell):
            name = documented(cell)
            whole = whole_source_in(next_code(nb['cells'][i:]), name)
            signature = '' if whole else f'```python\n{written[name]}\n```\n'
            text = SHOWN.sub(lambda old: signature, data['text/markdown'], count=1)
            data['text/markdown'] = re.sub('^### ', f'{level} ', text, count=1, flags=re.M)

def documented(cell): return re.search(r'show_doc\(([\w.]+)', source_of(cell))[1]

def next_code(cells):
    "The first cell that is not nbdev's: several definitions of one cell are shown above it."
    return next((cell for cell in cells if 'show_doc(' not in source_of(cell)), None)

def whole_source_in(cell, name):
    owner,_,own = name.rpartition('.')
    definition = rf'^def {own}\(self: {owner}\b' if owner else rf'^(def|class) {own}\b'
    return bool(cell and 'code-fold' in options_of(cell) and re.search(definition, source_of(cell), re.M))

def definitions(module):
    "How each function, class and public method of a module's file is introduced, by its name."
    text = module.read_text(encoding='utf-8')
    found = {}
    for node in ast.parse(text).body:
        if isinstance(node, ast.FunctionDef): found[full_name(node)] = introduction(node, text)
        if not isinstance(node, ast.ClassDef): continue
        found[node.name] = class_introduction(node, text)
        methods = [o for o in node.body if isinstance(o, ast.FunctionDef)]
        found |= {f'{node.name}.{o.name}': dedented(introduction(o, text)) for o in methods}
    return found

def full_name(function):
    "'Pass.heads' for a function that is patched into `Pass`."
    if not any('patch' in ast.unparse(o) for o in function.decorator_list): return function.name
    return f'{ast.unparse(function.args.args[0].annotation)}.{function.name}'

def introduction(node, text):
    "The lines of a definition that stand before its body."
    lines = text.splitlines()
    first,body = node.lineno-1,node.body[0]
    if body.lineno == node.lineno: return lines[first][:body.col_offset].rstrip()
    property_mark = ['@property'] if any('as_prop' in ast.unparse(o) for o in node.decorator_list) else []
    return '\n'.join([*property_mark, *lines[first:body.lineno-1]]).rstrip()

def class_introduction(node, text):
    "A class's first line, its fields, and how its objects are made."
    fields = [o for o in node.body if isinstance(o, (ast.AnnAssign, ast.Assign))]
    makers = [o for o in node.body if isinstance(o, ast.FunctionDef) and o.name == '__init__']
    lines = text.splitlines()
    parts = [lines[node.lineno-1].removesuffix(': pass')]
    parts += ['\n'.join(lines[o.lineno-1:o.end_lineno]) for o in fields]
    parts += [introduction(o, text) for o in makers]
    return '\n'.join(parts)

def dedented(text): return re.sub(r'^    ', '', text, flags=re.M)

def anchor_constants(nb, written, module):
    "An anchor for each public constant of a module, where the cell that makes it stands, or would if it were shown."
    for name,made_by in constants(module.read_text(encoding='utf-8')).items():
        anchor = dict(cell_type='markdown', id=f'{name}-anchor', metadata={}, source=f'[]{{#{name}}}')
        nb['cells'].insert(place_of(made_by, nb, written), anchor)

def place_of(name, nb, written):
    "Where the cell of that name stands, or would if it were shown: above what nbdev says of the cell after it."
    order,kept = ([cell['id'] for cell in o['cells']] for o in (written, nb))
    after = next((o for o in order[order.index(name):] if o in kept), None)
    if not after: return len(kept)
    place = kept.index(after)
    def is_about(cell): return 'show_doc(' in source_of(cell) and whole_source_in(following, documented(cell))
    following = nb['cells'][place]
    while place and is_about(nb['cells'][place-1]): place -= 1
    return place

def constants(text):
    "The cell that makes each public constant of a module, by the constant's name."
    cells = {i: found[1] for i,line in enumerate(text.splitlines(), 1) if (found := CELL.match(line))}
    made = {}
    for node in ast.parse(text).body:
        if not isinstance(node, (ast.Assign, ast.AnnAssign)): continue
        names = [name for name in assigned_names(node) if name.isupper() and name[0] != '_']
        made |= {name: cells[max(i for i in cells if i < node.lineno)] for name in names}
    return made

def assigned_names(node):
    target = node.targets[0] if isinstance(node, ast.Assign) else node.target
    return [o.id for o in ast.walk(target) if isinstance(o, ast.Name)]

# Code that few want to see: folded

def fold(cell, summary):
    text = DIRECTIVE.sub('', source_of(cell)).strip()
    return cell | dict(source=f'#| code-fold: true\n#| code-summary: "{summary}"\n{text}', outputs=[])

def fold_internals(nb, written):
    "Exported code that nbdev leaves out, as it defines nothing that is public but constants."
    kept = {cell['id'] for cell in nb['cells']}
    for cell in written['cells']:
        options = options_of(cell) if cell['cell_type'] == 'code' else {}
        if cell['id'] in kept or 'export' not in options or 'hide' in options: continue
        names = internals(ast.parse(source_of(cell)).body)
        if names: nb['cells'].insert(place_of(cell['id'], nb, written), fold(cell, f'Source of {", ".join(names)}'))

def internals(nodes):
    "The names that these lines define; none if a function or class is among them that nbdev shows."
    names = []
    for node in nodes:
        if isinstance(node, ast.FunctionDef): names.append(full_name(node))
        if isinstance(node, ast.ClassDef): names.append(node.name)
        if isinstance(node, (ast.Assign, ast.AnnAssign)): names += assigned_names(node)
    shown = [name for name in names if name.split('.')[-1][0] != '_' and name[0] != '_' and not name.isupper()]
    return [] if shown else list(dict.fromkeys(names))

def fold_imports(nb, most=8):
    "Cells of more than so many lines that only import."
    for i,cell in enumerate(nb['cells']):
        lines = source_of(cell).splitlines() if cell['cell_type'] == 'code' else []
        if len(lines) > most and all(re.match(r'(from|import) |$', line) for line in lines):
            nb['cells'][i] = fold(cell, 'Imports')

# Pictures in words

def describe_pictures(nb):
    """Give each cell that shows a picture a `fig-alt`: its own, or the prose that stands directly above it and
    describes no other picture. A list of the names of cells that have neither."""
    prose,undescribed = '',[]
    for cell in nb['cells']:
        if cell['cell_type'] == 'markdown': prose = last_words(source_of(cell)) or prose
        options = options_of(cell) if cell['cell_type'] == 'code' else {}
        if options.get('include') == 'false' or not has_picture(cell): continue
        if not (options.get('fig-alt') or prose): undescribed.append(cell['id'])
        if 'fig-alt' not in options:
            cell['source'] = f'#| fig-alt: {json.dumps(prose, ensure_ascii=False)}\n{source_of(cell)}'
            prose = ''
    return undescribed

def has_picture(cell):
    return any(kind.startswith('image/') for out in cell.get('outputs', []) for kind in out.get('data', {}))

def last_words(markdown):
    "The last paragraph of prose, without its marks; a heading if there is no more."
    paragraphs = [o.strip() for o in re.split(r'\n\s*\n', without_blocks(markdown))]
    return plain([o for o in paragraphs if o][-1]) if any(paragraphs) else ''

def without_blocks(markdown):
    "Markdown without code, displayed equations, comments and tables."
    return re.sub(r'```.*?```|\$\$.*?\$\$|<!--.*?-->|^\|.*$', '', markdown, flags=re.S | re.M)

def plain(markdown):
    "Words without marks of markdown: links, code, emphasis, headings, simple mathematics."
    text = re.sub(r'!?\[([^\]]*)\]\([^)]*\)', r'\1', markdown)
    text = re.sub(r'\\(?:mathcal|mathrm|text|bar|hat|mathbf)', '', text)
    text = re.sub(r'[*`$#>{}\\]|(?<=\s)_|_(?=\s)', '', text)
    return ' '.join(text.split())
