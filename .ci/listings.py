"""Pages that no notebook makes, written into _proc for pandoc and for Quarto: what can be chosen, all public names,
and a gallery of the notebooks' pictures."""
import ast, base64, html, re, shutil

import yaml
from prepared import LIB, PROC, assigned_names, has_picture, notebook_of, options_of, read, source_of

def write_listings(notebooks):
    "All of `LISTINGS`; `notebooks` in the order of the menu."
    for name,(title,subtitle,body) in LISTINGS.items():
        front = yaml.safe_dump(dict(title=title, description=subtitle), allow_unicode=True, width=9999)
        (PROC/name).write_text(f'---\n{front}---\n\n{body(notebooks)}\n', encoding='utf-8')

def table(head, rows):
    lines = [head, ['---']*len(head), *rows]
    return '\n'.join('| '+' | '.join(map(str, line))+' |' for line in lines)

# What can be chosen

def choices(notebooks):
    "Methods, backbones and tasks, and what each pair gives, from the package."
    from udalit.data.tasks import TASKS
    from udalit.methods.catalogue import METHODS
    from udalit.nets.generators import BACKBONES
    places = method_pages()
    methods = [[f'[`{name}`]({places[name]})', method.about, ' → '.join(stage.name for stage in method.stages)]
               for name,method in METHODS.items()]
    linked = [f'[`{name}`]({places[name]})' for name in METHODS]
    by_task = [[f'`{task}`', *(stages_on(method, task) for method in METHODS)] for task in TASKS]
    by_backbone = [[f'`{name}`', *(steps_on(method, name) for method in METHODS)] for name in BACKBONES]
    tasks = [[f'`{name}`', *about.split('; ', 1)] for name,(about, _) in TASKS.items()]
    return f'''The three are chosen apart: `udalit run METHOD TASK --backbone NAME`. Only a method that tells things
from stuff, as SIM does, needs a task that has both. The tables are made from the package when this page is.

## Methods

{table(['METHOD', 'what it is', 'stages'], methods)}

## Tasks

{table(['TASK', 'from → to', 'data below ROOT'], tasks)}

## Backbones

{table(['NAME', 'head', 'millions of weights, 19 classes', 'published weights'], map(backbone_row, BACKBONES))}

[Any network of your own](tutorials/900_own_network.ipynb) can take their place.

## Methods on tasks

How many networks a method trains, one after the other, on a task. **+** says that a translator is trained first
and the source painted in the target's style, unless translated images are given.

{table(['TASK', *linked], by_task)}

## Methods on backbones

Steps of each training, times images of a batch.

{table(['NAME', *linked], by_backbone)}
'''

def method_pages():
    "The notebook of each method, by its name."
    from udalit.methods.catalogue import _OTHERS, CONTROLS
    made = {make().name: make.__module__ for make in _OTHERS}
    made |= {method.name: 'udalit.methods.controls' for method in CONTROLS}
    return {name: notebook_of(LIB.parent/(module.replace('.', '/')+'.py')) for name,module in made.items()}

def stages_on(method, task):
    "How many segmentation networks are trained, and whether a translator is."
    from udalit.methods.catalogue import method_on
    networks = [stage.network for stage in method_on(method, task).training]
    return f'{networks.count("segmentation")}{" +" if "translator" in networks else ""}'

def steps_on(method, backbone):
    from udalit.methods.catalogue import settings_for
    settings = settings_for(backbone, method)
    return f'{settings.steps:,} × {settings.batch_size}'

def backbone_row(name):
    "A backbone's head and size, and whether torchvision or timm publish weights for its encoder."
    import torch
    from udalit.nets.generators import _OWN_HEADS, deeplab_v2
    with torch.device('meta'): network = deeplab_v2(name, 19)
    weights = sum(parameter.numel() for parameter in network.parameters())
    head = 'its own' if name in _OWN_HEADS else "DeepLab-v2's"
    return [f'`{name}`', head, f'{weights/1e6:.1f}', 'ImageNet' if network.encoder.origin else 'none']

# All public names

def names(notebooks):
    "The front door's names first, with what they are; then every public name of every module, folded."
    from udalit.api import API
    found = {o.relative_to(LIB).with_suffix(''): public_names(o) for o in sorted(LIB.rglob('*.py'))}
    by_module = {module.as_posix().replace('/', '.'): rows for module,rows in found.items() if rows}
    front = [row for name,module in API.items() for row in by_module[module] if row[0] == name]
    order = {page.as_posix(): i for i,page in enumerate(notebooks)}
    chapters = {}
    for module,rows in sorted(by_module.items(), key=lambda item: order[item[1][0][1].partition('#')[0]]):
        chapters.setdefault(module.partition('.')[0], []).append((module, rows))
    folded = '\n\n'.join(chapter(title, modules) for title,modules in chapters.items())
    return f'''`from udalit import …` has the names of the first table; they are [the package's API](890_api.ipynb).

## The front door

{table(['name', 'what it is'], map(linked_row, front))}

## All public names

By chapter, in the order of the modules: `from udalit.MODULE import NAME`. Each leads to its place.

{folded}
'''

def chapter(title, modules):
    parts = [f'**`udalit.{module}`**\n\n{table(["name", "what it is"], map(linked_row, rows))}' for module,rows in modules]
    count = sum(len(rows) for _,rows in modules)
    return f'<details><summary>{title}: {count} names</summary>\n\n'+'\n\n'.join(parts)+'\n\n</details>'

def linked_row(row):
    name,place,about = row
    return [f'[`{name}`]({place})', about]

def public_names(module):
    "[(name, its place in the docs, what it is), …] of a module's `__all__`."
    nodes = ast.parse(module.read_text(encoding='utf-8')).body
    page = notebook_of(module)
    if page is None: return []
    values = {name: o.value for o in nodes if isinstance(o, (ast.Assign, ast.AnnAssign)) for name in assigned_names(o)}
    defined = {o.name: o for o in nodes if isinstance(o, (ast.FunctionDef, ast.ClassDef))}
    return [(name, f'{page}#{name.lower()}', first_sentence(defined[name])) if name in defined else
            (name, f'{page}#{name}', kind_of(values[name])) for name in ast.literal_eval(values['__all__'])]

def first_sentence(node):
    doc = (ast.get_docstring(node) or '').split('Source:')[0].strip()
    return ' '.join(re.split(r'(?<=[.;])\s', doc)[0].rstrip('.;').split()).replace('|', '\\|')

def kind_of(value):
    "What a constant is, from its expression."
    if isinstance(value, ast.Constant): return f'`{value.value!r}`'
    if isinstance(value, (ast.Dict, ast.DictComp)): return 'a table, by name'
    if isinstance(value, ast.Call): return f'a constant, made by `{ast.unparse(value.func)}`'
    return 'a constant'

# Pictures

def gallery(notebooks):
    "The most detailed picture of each notebook, as a link to it."
    folder = PROC/'gallery'
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    items = [item for page in notebooks if (item := gallery_item(page, folder))]
    return f'```{{=html}}\n<ul class="gallery">\n{"".join(items)}</ul>\n```'

def gallery_item(page, folder):
    nb = read(PROC/page)
    shown = [(''.join(out['data']['image/png']), options_of(cell)['fig-alt']) for cell in nb['cells']
             if has_picture(cell) and options_of(cell).get('include') != 'false'
             for out in cell['outputs'] if 'image/png' in out.get('data', {})]
    if not shown: return None
    data,alt = max(shown, key=lambda picture: len(picture[0]))
    name = '-'.join(page.with_suffix('.png').parts)
    (folder/name).write_bytes(base64.b64decode(data))
    meta = next(yaml.safe_load(source_of(cell).strip().strip('-')) for cell in nb['cells'] if cell['cell_type'] == 'raw')
    title,summary = (html.escape(meta[key].replace("'", '’')) for key in ('title', 'description'))
    return (f'<li><a href="{page.as_posix()}"><img src="gallery/{name}" alt="{html.escape(yaml.safe_load(alt))}" loading="lazy">'
            f'<strong>{title}</strong> {summary}</a></li>\n')

LISTINGS = {
    'choices.qmd': ('What can be chosen', 'Which methods, backbones and tasks are there, and how do they go together?', choices),
    'names.qmd': ('Names', 'Where is each public name explained?', names),
    'gallery.qmd': ('Gallery', 'What do the notebooks look like? A picture of each leads to it.', gallery)}
