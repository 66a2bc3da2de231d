"Which pages the site has, in which order, and the menus that lead to them: pandoc's site's own, and Quarto's."
import html, os, re
from pathlib import Path

import yaml

from listings import LISTINGS
from prepared import HERE, NBS

VERSIONS = HERE/'site'/'versions.yml'
FIRST = 'index.ipynb', 'tutorials', 'papers'                 # what a newcomer wants stands before the modules
REFERENCE = (*LISTINGS, 'equations.ipynb')
MODULES = 'modules, in the order of their imports'

def pages():
    "All pages: the front page, tutorials, papers, the lists, then the modules in the order of their numbers."
    notebooks = [o.relative_to(NBS) for o in NBS.rglob('*.ipynb')]
    notebooks = [o for o in notebooks if not any(part[0] in '._' for part in o.parts)]
    numbers = {o: int(found[0]) if (found := re.match(r'\d+', o.name)) else 0 for o in notebooks}
    first = {o.parent: min(numbers[p] for p in notebooks if p.parent == o.parent) for o in notebooks}
    def place(page):
        if page.parts[0] in FIRST: return FIRST.index(page.parts[0]), numbers[page]
        if page.name in REFERENCE: return len(FIRST), REFERENCE.index(page.name)
        chapter = numbers[page] if len(page.parts) == 1 else first[page.parent]
        return len(FIRST)+1, chapter, numbers[page]
    return sorted([*notebooks, *map(Path, LISTINGS)], key=place)

def section_of(page):
    if len(page.parts) > 1: return page.parent.as_posix()
    return 'reference' if page.name in REFERENCE else ''

def sections(files):
    "Runs of pages of one section: [(its name or '', [page, …]), …]."
    runs = []
    for page in files:
        section = section_of(page)
        if not runs or runs[-1][0] != section: runs.append((section, []))
        runs[-1][1].append(page)
    return runs

def other_versions(): return yaml.safe_load(VERSIONS.read_text(encoding='utf-8'))

def sidebar_yml(files, version):
    "What Quarto shows beside and above the pages: their list, and the version with others to choose from."
    contents = []
    for section,members in sections(files):
        listed = [o.as_posix() for o in members]
        contents += [dict(section=section, contents=listed)] if section else listed
    others = [dict(text=name, href=address) for name,address in other_versions().items()]
    versions = dict(text=version, menu=[dict(text=f'{version} (this one)', href='index.ipynb'), *others])
    website = dict(sidebar=dict(contents=contents), navbar=dict(right=[versions]))
    text = yaml.safe_dump(dict(website=website), sort_keys=False)
    return '# Written by `python .ci/docs.py --sidebar`: tutorials and papers, lists, modules by their numbers.\n'+text

def menu(files, titles, page, made):
    "The sidebar, as seen from `page`: a section is open if the page is in it, or a newcomer wants it."
    def item(o):
        number = re.match(r'\d*', o.name)[0]
        here = ' aria-current="page"' if o == page else ''
        return f'<li><a href="{path_to(made[o], made[page])}"{here}><span>{number}</span>{html.escape(titles[o])}</a></li>'
    parts,above = [],True
    for section,members in sections(files):
        listed = f'<ul>{"".join(map(item, members))}</ul>'
        early = section in (*FIRST, 'reference') or members[0].name in FIRST
        if above and not early: parts.append(f'<h2>{MODULES}</h2>')
        above = early
        opened = ' open' if early or page in members else ''
        parts.append(f'<details{opened}><summary>{section}</summary>{listed}</details>' if section else listed)
    return ''.join(parts)

def path_to(target, page): return Path(os.path.relpath(target, page.parent)).as_posix()
