"""The docs site without Quarto: nbdev prepares the notebooks, pandoc makes the pages, all of them are checked.

`python .ci/docs.py` builds _docs and exits with 1 and a list of what is wrong; `--sidebar` writes nbs/sidebar.yml
(Quarto's list of pages) from the notebooks' numbers; `--prepare` stops before pandoc, for Quarto to go on from
_proc. The order of the pages stands in page_order.py, what is done to the notebooks themselves in prepared.py,
pages that no notebook makes in listings.py, the search in search.py, what must hold of the finished site in
site_checks.py; how it looks and what it does in the browser, in site/."""
import base64, html, os, re, shutil, subprocess, sys
from pathlib import Path
from urllib.parse import urlsplit

import pypandoc, yaml
from nbdev.config import get_config
from nbdev.doclinks import NbdevLookup, _nbpath2html
from nbdev.serve import proc_nbs

from listings import write_listings
from page_order import menu, other_versions, pages, path_to, section_of, sidebar_yml
from prepared import DIRECTIVE, HERE, LIB, NBS, PROC, ROOT, notebook_of, options_of, plain, prepare, read, source_of
from search import write_index
from site_checks import Page, problems_of

OUT = ROOT/'_docs'
SITE = HERE/'site'
IN_PROSE = re.compile(r'(<pre[^>]*>)?<code>([^<]+)</code>')
OPTION = re.compile(r'(?<!\S)-[\w-]+')
SCOPE = re.compile(r' scope="[a-z]*"')
EQUATIONS = re.compile(r'\$\$(.*?)\$\$', re.S)
DISPLAYED = re.compile(r'<math display="block".*?</math>', re.S)
LINK = re.compile(r'(?<= )(href|src)="([^"]*)"')

# A notebook as markdown

def fenced(text, kind=''): return f'\n\n~~~~~~~~~~ {kind}\n{text.rstrip()}\n~~~~~~~~~~\n\n'

PICTURES = {'image/png': 'png', 'image/jpeg': 'jpg', 'image/svg+xml': 'svg'}

def output(out, target, options):
    "One stored output as markdown; a picture becomes the file `target`."
    if out['output_type'] == 'stream':
        text = ''.join(out['text'])
        return text if options.get('output') == 'asis' else printed(text)
    data = {k: ''.join(v) if isinstance(v, list) else v for k,v in out.get('data', {}).items()}
    for kind,ext in PICTURES.items():
        if kind in data: return picture(data[kind], target.with_suffix('.'+ext), yaml.safe_load(options['fig-alt']))
    if 'text/html' in data: return fenced(f'<div class="output">{data["text/html"]}</div>', '{=html}')
    if 'text/markdown' in data: return '\n\n'+data['text/markdown']+'\n\n'
    return printed(data['text/plain']) if data.get('text/plain') else ''

def printed(text):
    "What a cell printed. Its lines may wrap, unless a long one has columns."
    columns = any(len(line) > 40 and re.search(r'^\||\S {2,}\S', line) for line in text.splitlines())
    return fenced(text, '{.output}' if columns else '{.output .wraps}')

def picture(data, target, alt):
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(data.encode() if target.suffix == '.svg' else base64.b64decode(data))
    address = f'{target.parent.name}/{target.name}'
    return fenced(f'<figure><img src="{address}" alt="{html.escape(alt)}" loading="lazy"></figure>', '{=html}')

def code(cell, folder):
    "A code cell as markdown: what is shown of it, and its outputs."
    options = options_of(cell)
    if options.get('include') == 'false': return []
    source = DIRECTIVE.sub('', source_of(cell)).strip()
    kind = '{.python .wraps}' if source.startswith('!') else '{.python}'  # a command of the shell may wrap
    shown = fenced(source, kind) if source and options.get('echo') != 'false' else ''
    if shown and 'code-fold' in options:
        summary = options.get('code-summary', 'Code').strip('"')
        opened = ' open' if options['code-fold'] == 'show' else ''
        shown = f'\n\n<details{opened}><summary>{summary}</summary>{shown}</details>\n\n'
    if options.get('output') == 'false': return [shown]
    return [shown, *(output(out, folder/f'{cell["id"]}-{i}.x', options) for i,out in enumerate(cell['outputs']))]

def markdown(page, target):
    "A prepared page as (front matter, pandoc markdown)."
    if page.suffix != '.ipynb':
        _,front,body = (PROC/page).read_text(encoding='utf-8').split('---\n', 2)
        return yaml.safe_load(front), body
    meta,body = {},[]
    for cell in read(PROC/page)['cells']:
        source = source_of(cell)
        if cell['cell_type'] == 'code': body += code(cell, target.parent/f'{target.stem}_files')
        elif cell['cell_type'] == 'markdown': body.append(EQUATIONS.sub(apart, source))
        elif source.lstrip().startswith('---'): meta |= yaml.safe_load(source.strip().strip('-')) or {}
    return meta,'\n\n'.join(body)

def apart(equations):
    "Equations side by side, each on its own: a narrow page puts them below one another."
    parts = equations[1].split(r'\qquad')
    if any(part.count('{') != part.count('}') or r'\begin' in part for part in parts): return equations[0]
    return ' '.join(f'$${part.strip()}$$' for part in parts)

# Pages

def to_html(text, target, **variables):
    target.parent.mkdir(parents=True, exist_ok=True)
    command = [pypandoc.get_pandoc_path(), '--from=markdown-yaml_metadata_block-implicit_figures', '--to=html5']
    command += ['--standalone', '--mathml', '--toc', '--columns=9999', '--fail-if-warnings']
    command += [f'--template={SITE/"page.html"}', f'--output={target}']
    command += [f'--metadata=pagetitle={variables["pagetitle"]}']
    command += [f'--variable={name}={value}' for name,value in variables.items()]
    done = subprocess.run(command, input=text, capture_output=True, text=True, encoding='utf-8')
    if done.returncode: sys.exit(f'pandoc cannot make {target.relative_to(OUT)}:\n{done.stderr}')

def named(meta, page, cfg):
    "What a page is called: in menus, above its text, in a browser's tab and in the search; and a sentence about it."
    title,summary = (plain(str(meta.get(key, ''))).replace("'", '’') for key in ('title', 'description'))
    title,summary = title or page.stem, html.escape(summary)
    if page.name == 'index.ipynb':
        tab = f'{cfg.title}: {cfg.description.split(":")[0]}'
        return dict(title=title, listed='Overview', pagetitle=tab, found=cfg.title, summary=summary)
    place = f'{title}, {section_of(page)}' if len(page.parts) > 1 else title
    return dict(title=title, listed=title, pagetitle=f'{place} – {cfg.title}', found=place, summary=summary)

def finish(target):
    """Without the anchors that pandoc puts on lines of code, and without table heads that say nothing; with a box
    for each displayed equation to scroll in, and one for equations side by side."""
    text = target.read_text(encoding='utf-8')
    text = re.sub(r'<a href="#cb[\d-]+" aria-hidden="true" tabindex="-1"></a>', '', text)
    text = re.sub(r'<th( [^>]*)?></th>', lambda m: f'<td{SCOPE.sub("", m[1] or "")}></td>', text)
    text = IN_PROSE.sub(lambda m: m[0] if m[1] else unbroken(m[2]), text)
    text = text.replace('<mo>&#8289;</mo></mrow><mi>', '<mo>&#8289;</mo></mrow><mspace width="0.17em"/><mi>')
    text = re.sub(rf'(?:{DISPLAYED.pattern}\s*)+', lambda m: boxed(m[0]), text, flags=re.S)
    target.write_text(text, encoding='utf-8')

def unbroken(code, most=24):
    "Code within prose: a short one stays on one line, in a longer one each option does."
    if len(code) <= most: return f'<code class="short">{code}</code>'
    return '<code>'+OPTION.sub(r'<span class="short">\g<0></span>', code)+'</code>'

def boxed(equations):
    each = DISPLAYED.sub(r'<span class="equation">\g<0></span>', equations)
    return f'<span class="equations">{each}</span>'

def localise(target, source, made, site, anchors):
    """Links of one page: notebook → page, the site's own address → relative. What has no heading of its own, such
    as a class's method, is found at its class."""
    def one(m):
        url = html.unescape(m[2])
        path,_,frag = url.partition('#')
        if path.startswith(site):
            path = os.path.relpath(OUT/(path[len(site):].strip('/') or 'index.html'), target.parent)
        elif path.endswith(('.ipynb', '.qmd')) and not urlsplit(path).scheme:
            key = Path(os.path.relpath((NBS/source.parent/path).resolve(), NBS))
            path = os.path.relpath(OUT/made[key], target.parent) if key in made else path
        else: return m[0]
        ids = anchors.get((target.parent/path).resolve(), set())
        if frag not in ids and frag.rpartition('.')[0] in ids: frag = frag.rpartition('.')[0]
        return f'{m[1]}="{html.escape(Path(path).as_posix()+("#"+frag if frag else ""))}"'
    target.write_text(LINK.sub(one, target.read_text(encoding='utf-8')), encoding='utf-8')

# The build

def prepare_all(files, cfg):
    "The notebooks and lists in _proc, as pandoc and Quarto need them."
    if cfg.lib_name not in NbdevLookup().entries:
        sys.exit("names cannot be linked: pip install -e '.[dev]' first")
    try: proc_nbs(force=True)
    except Exception as e: sys.exit(f'nbdev cannot process the notebooks: {e}')
    notebooks = [o for o in files if o.suffix == '.ipynb']
    lost = [o.as_posix() for o in notebooks if not (PROC/o).exists()]
    if lost: sys.exit(f'nbdev could not process {", ".join(lost)} (see above)')
    modules = {notebook_of(module): module for module in LIB.rglob('*.py')}
    problems = [problem for o in notebooks for problem in prepare(o, modules.get(o.as_posix()))]
    if problems: sys.exit('\n'.join(problems))
    write_listings(notebooks)

def build(files, cfg):
    "The site in _docs."
    shutil.rmtree(OUT, ignore_errors=True)
    shutil.copytree(PROC, OUT, ignore=shutil.ignore_patterns('*.ipynb', '*.qmd', '*.yml', '_docs'))
    for name in ('site.css', 'site.js'): shutil.copy(SITE/name, OUT)
    made = {o: _nbpath2html(o) if o.suffix == '.ipynb' else o.with_suffix('.html') for o in files}
    texts,heads = {},{}
    for o in files:
        meta,texts[o] = markdown(o, OUT/made[o])
        heads[o] = named(meta, o, cfg)
    listed = {o: heads[o]['listed'] for o in files}
    versions = ''.join(f'<li><a href="{address}">{name}</a></li>' for name,address in other_versions().items())
    same = dict(site=cfg.title, version=cfg.version, versions=versions, repo=cfg.git_url)
    for o in files:
        around = dict(root=path_to(Path('.'), made[o]), menu=menu(files, listed, o, made))
        around |= neighbours(files, listed, o, made)
        path = f'nbs/{o.as_posix()}'
        if o.suffix == '.ipynb': around |= dict(path=path, notebook=f'{cfg.git_url}/blob/{cfg.branch}/{path}')
        to_html(texts[o], OUT/made[o], **heads[o], **same, **around)
        finish(OUT/made[o])
    anchors = {(OUT/made[o]).resolve(): Page(OUT/made[o]).ids for o in files}
    for o in files: localise(OUT/made[o], o, made, cfg.doc_host+cfg.doc_baseurl, anchors)
    write_index(OUT, [(made[o], heads[o]['found']) for o in files])

def neighbours(files, listed, page, made):
    "Links to the pages before and after this one."
    place = files.index(page)
    near = dict(previous=files[:place][-1:], next=files[place+1:][:1])
    return {name: f'<a href="{path_to(made[o], made[page])}">{html.escape(listed[o])}</a>'
            for name,found in near.items() for o in found}

def main():
    files,cfg = pages(),get_config()
    sidebar = NBS/'sidebar.yml'
    if '--sidebar' in sys.argv: return sidebar.write_text(sidebar_yml(files, cfg.version), encoding='utf-8')
    if not sidebar.exists() or sidebar.read_text(encoding='utf-8') != sidebar_yml(files, cfg.version):
        sys.exit('nbs/sidebar.yml is out of date: run python .ci/docs.py --sidebar')
    prepare_all(files, cfg)
    if '--prepare' in sys.argv: return
    build(files, cfg)
    if problems := sorted(set(problems_of(OUT, ROOT, f'{cfg.git_url}/blob/{cfg.branch}/'))):
        sys.exit('not as it should be:\n  '+'\n  '.join(problems))

if __name__ == '__main__': main()
