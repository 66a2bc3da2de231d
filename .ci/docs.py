"""The docs site without Quarto: nbdev prepares the notebooks, pandoc makes the pages, every link is checked.

`python .ci/docs.py` builds _docs and exits with 1 and a list if a link or an anchor is dead; `--sidebar`
writes nbs/sidebar.yml (Quarto's list of pages) from the notebooks' numbers; `--prepare` stops before pandoc,
for Quarto to go on from _proc."""
import base64, html, json, os, re, shutil, subprocess, sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pypandoc, yaml
from nbdev.config import get_config
from nbdev.doclinks import NbdevLookup, _nbpath2html
from nbdev.serve import proc_nbs

HERE = Path(__file__).resolve().parent
ROOT,NBS,PROC,OUT = HERE.parent,HERE.parent/'nbs',HERE.parent/'_proc',HERE.parent/'_docs'
DIRECTIVE = re.compile(r'^#\| *([\w-]+):? *(.*)\n?', re.M)
LINK = re.compile(r'(?<= )(href|src)="([^"]*)"')
# equations of the papers, as docstrings ("Source: SIM-6, SIM-9") and prose (`SIM-6`) name them
EQUATION = r'\b(?:SEG|ADV|(?:CLAN|FADA|SIM|ISIA|PIX)-(?:\d+|A1|ALG1|CCD|INTRA))\b'
SOURCE = re.compile(r'Source: [^\n]*')
LINKED = re.compile(r'\[(`[^`\n]+`)\]\([^()\s]*\)')
QUOTED = rf'(?<!\[)`{EQUATION}`'

def pages(root=NBS):
    "Notebooks below `root` in the order of their numbers, index first; a folder stands where its first one does."
    def number(path):
        if (found := re.match(r'\d+', path.name)): return int(found[0])
        return -2 if path.stem == 'index' else -1
    files = [o.relative_to(root) for o in root.rglob('*.ipynb')]
    files = [o for o in files if not any(part[0] in '._' for part in o.parts)]
    first = {o.parent: min(number(p) for p in files if p.parent == o.parent) for o in files}
    def place(o): return (first[o.parent] if len(o.parts) > 1 else number(o), number(o), o.name)
    return sorted(files, key=place)

def sections(files):
    "Runs of pages of one folder: [(folder or '', [page, …]), …]."
    res = []
    for o in files:
        folder = '' if len(o.parts) == 1 else o.parent.as_posix()
        if not res or res[-1][0] != folder: res.append((folder, []))
        res[-1][1].append(o)
    return res

def sidebar_yml(files):
    contents = []
    for folder,os_ in sections(files):
        listed = [o.as_posix() for o in os_]
        contents += [dict(section=folder, contents=listed)] if folder else listed
    text = yaml.safe_dump(dict(website=dict(sidebar=dict(contents=contents))), sort_keys=False)
    return '# Written by `python .ci/docs.py --sidebar`: the notebooks in the order of their numbers.\n'+text

def linked(text, page, pattern):
    "The text with a link from each equation that matches to its row in the table of all equations."
    table = Path(os.path.relpath('equations.ipynb', page.parent)).as_posix()
    return re.sub(pattern, lambda id: f'[{id[0]}]({table}#{id[0].strip("`")})', text)

def unlinked(shown):
    "What nbdev shows of a docstring, without the links that it puts into the code of a signature."
    parts = re.split(r'(```.*?```)', shown, flags=re.S)
    return ''.join(LINKED.sub(r'\1', part) if part.startswith('```') else part for part in parts)

def cite(page):
    """Links in one prepared notebook. To equations, from the docstrings that nbdev shows and from prose; and a name
    that nbdev made a link within code, or within a link of ours, is a name again."""
    path = PROC/page
    nb = json.loads(path.read_text(encoding='utf-8'))
    for cell in nb['cells']:
        source = ''.join(cell['source'])
        if cell['cell_type'] == 'markdown':
            source = re.sub(rf'\[{LINKED.pattern}\]\(', r'[\1](', source)
            cell['source'] = linked(source, page, QUOTED)
        for out in cell.get('outputs', []) if 'show_doc(' in source else ():
            shown = unlinked(''.join(out['data'].get('text/markdown', '')))
            shown = SOURCE.sub(lambda cites: linked(cites[0], page, EQUATION), shown)
            out['data']['text/markdown'] = shown
    path.write_text(json.dumps(nb, ensure_ascii=False), encoding='utf-8')

def fenced(text, kind=''): return f'\n\n~~~~~~~~~~ {kind}\n{text.rstrip()}\n~~~~~~~~~~\n\n'

def output(out, target, asis):
    "One stored output as markdown; a picture becomes the file `target`."
    if out['output_type'] == 'stream':
        text = ''.join(out['text'])
        return text if asis else fenced(text, '{.output}')
    data = {k: ''.join(v) if isinstance(v, list) else v for k,v in out.get('data', {}).items()}
    for kind,ext in {'image/png': 'png', 'image/jpeg': 'jpg', 'image/svg+xml': 'svg'}.items():
        if kind not in data: continue
        target = target.with_suffix('.'+ext)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data[kind].encode() if ext == 'svg' else base64.b64decode(data[kind]))
        return f'\n\n![]({target.parent.name}/{target.name}){{.figure}}\n\n'
    if 'text/html' in data: return fenced(f'<div class="output">{data["text/html"]}</div>', '{=html}')
    if 'text/markdown' in data: return '\n\n'+data['text/markdown']+'\n\n'
    return fenced(data.get('text/plain', ''), '{.output}') if data.get('text/plain') else ''

def markdown(nb, target):
    "A processed notebook as (front matter, pandoc markdown)."
    meta,body = {},[]
    for i,cell in enumerate(nb['cells']):
        source = ''.join(cell['source'])
        if cell['cell_type'] == 'raw':
            if source.lstrip().startswith('---'): meta |= yaml.safe_load(source.strip().strip('-')) or {}
        elif cell['cell_type'] == 'markdown': body.append(source)
        else:
            options = dict(DIRECTIVE.findall(source))
            if options.get('include') == 'false': continue
            code = DIRECTIVE.sub('', source).strip()
            shown = fenced(code, '{.python}') if code and options.get('echo') != 'false' else ''
            if shown and 'code-fold' in options:
                summary = options.get('code-summary', 'Code').strip('"')
                shown = f'\n\n<details open><summary>{summary}</summary>{shown}</details>\n\n'
            asis = options.get('output') == 'asis'
            name = target.parent/(target.stem+'_files')/f'{cell.get("id", i)}'
            files = [name.with_name(f'{name.name}-{j}.x') for j in range(len(cell['outputs']))]
            outs = [output(o, file, asis) for o,file in zip(cell['outputs'], files)]
            body += [shown, *(outs if options.get('output') != 'false' else [])]
    return meta,'\n\n'.join(body)

def to_html(text, target, **variables):
    meta = OUT/'meta.json'
    meta.write_text(json.dumps(variables.pop('meta')), encoding='utf-8')
    cmd = [pypandoc.get_pandoc_path(), '--from=markdown-yaml_metadata_block', '--to=html5', '--standalone']
    cmd += ['--mathml', '--toc', '--columns=9999', '--fail-if-warnings', f'--template={HERE/"page.html"}']
    cmd += [f'--metadata-file={meta}', f'--output={target}']
    cmd += [f'--variable={k}={v}' for k,v in variables.items()]
    done = subprocess.run(cmd, input=text, capture_output=True, text=True, encoding='utf-8')
    meta.unlink()
    if done.returncode: sys.exit(f'pandoc cannot make {target.relative_to(OUT)}:\n{done.stderr}')

def menu(files, metas, page, made):
    "The sidebar, as seen from `page`."
    def item(o):
        to = Path(os.path.relpath(OUT/made[o], (OUT/made[page]).parent)).as_posix()
        number = re.match(r'\d*', o.name)[0]
        title = 'Overview' if o.stem == 'index' else metas[o]['title']
        here = ' class=here' if o == page else ''
        return f'<li{here}><a href="{to}"><span>{number}</span>{html.escape(title)}</a></li>'
    parts = []
    for folder,os_ in sections(files):
        if folder: parts.append(f'<h2>{folder}</h2>')
        parts.append(f'<ul>{"".join(map(item, os_))}</ul>')
    return ''.join(parts)

def localise(target, source, made, site, anchors):
    """Links of one page: .ipynb → .html, the site's own address → relative. What has no heading of its own, such
    as a class's method, is found at its class."""
    def one(m):
        url = html.unescape(m[2])
        path,_,frag = url.partition('#')
        if path.startswith(site):
            path = os.path.relpath(OUT/(path[len(site):].strip('/') or 'index.html'), target.parent)
        elif path.endswith('.ipynb') and not urlsplit(path).scheme:
            key = Path(os.path.relpath((NBS/source.parent/path).resolve(), NBS))
            path = os.path.relpath(OUT/made[key], target.parent) if key in made else path
        else: return m[0]
        ids = anchors.get((target.parent/path).resolve(), set())
        if frag not in ids and frag.rpartition('.')[0] in ids: frag = frag.rpartition('.')[0]
        return f'{m[1]}="{html.escape(Path(path).as_posix()+("#"+frag if frag else ""))}"'
    target.write_text(LINK.sub(one, target.read_text(encoding='utf-8')), encoding='utf-8')

class Page(HTMLParser):
    "The anchors and links of one page."
    def __init__(self, path):
        super().__init__()
        self.ids,self.links,self.unread = set(),[],[]
        self.feed(path.read_text(encoding='utf-8'))
    def handle_starttag(self, tag, attrs):
        for k,v in attrs:
            if k in ('id', 'name') and v: self.ids.add(v)
            if k in ('href', 'src') and v is not None: self.links.append(v)
    def handle_data(self, data):
        if '`](http' in data: self.unread.append(data.strip())

def dead_links(cfg):
    "Every link that leads nowhere; addresses of other sites are only checked for their form."
    seen,out = {o.resolve(): Page(o) for o in OUT.rglob('*.html')},OUT.resolve()
    blob = f'{cfg.git_url}/blob/{cfg.branch}/'
    for page,parsed in seen.items():
        for text in parsed.unread: yield f'{page.relative_to(out).as_posix()}: a link that reads {text}'
        for link in parsed.links:
            url = urlsplit(link)
            if link.startswith(blob):
                to = ROOT/unquote(url.path.split(f'/blob/{cfg.branch}/')[1])
                ok = to.exists() and url.fragment != 'LNone'
            elif url.scheme in ('http', 'https'): ok = '.' in url.netloc and ' ' not in link
            elif url.scheme in ('data', 'mailto'): ok = True
            else:
                to = (page.parent/unquote(url.path)).resolve() if url.path else page
                anchored = not url.fragment or to not in seen or unquote(url.fragment) in seen[to].ids
                ok = to.is_file() and out in to.parents and anchored
            if not ok: yield f'{page.relative_to(out).as_posix()}: {link}'
    print(f'{len(seen)} pages, {sum(len(p.links) for p in seen.values())} links')

def main():
    files,cfg = pages(),get_config()
    yml = NBS/'sidebar.yml'
    if '--sidebar' in sys.argv: return yml.write_text(sidebar_yml(files), encoding='utf-8')
    if not yml.exists() or yml.read_text(encoding='utf-8') != sidebar_yml(files):
        sys.exit('nbs/sidebar.yml is out of date: run python .ci/docs.py --sidebar')
    if cfg.lib_name not in NbdevLookup().entries:
        sys.exit("names cannot be linked: pip install -e '.[dev]' first")
    try: proc_nbs(force=True)
    except Exception as e: sys.exit(f'nbdev cannot process the notebooks: {e}')
    lost = [o.as_posix() for o in files if not (PROC/o).exists()]
    if lost: sys.exit(f'nbdev could not process {", ".join(lost)} (see above)')
    for o in files: cite(o)
    if '--prepare' in sys.argv: return
    shutil.rmtree(OUT, ignore_errors=True)
    shutil.copytree(PROC, OUT, ignore=shutil.ignore_patterns('*.ipynb', '*.yml', '_docs'))
    shutil.copy(HERE/'site.css', OUT)
    made = {o: _nbpath2html(o) for o in files}
    texts,metas = {},{}
    for o in files:
        metas[o],texts[o] = markdown(json.loads((PROC/o).read_text(encoding='utf-8')), OUT/made[o])
        metas[o] = dict(title=o.stem, description='') | metas[o]
        metas[o]['pagetitle'] = f'{metas[o]["title"]} – {cfg.title}'
    for i,o in enumerate(files):
        target = OUT/made[o]
        target.parent.mkdir(parents=True, exist_ok=True)
        near = {k: files[j] for k,j in dict(previous=i-1, next=i+1).items() if 0 <= j < len(files)}
        for k,p in near.items():
            to = os.path.relpath(OUT/made[p], target.parent)
            near[k] = f'<a href="{to}">{html.escape(metas[p]["title"])}</a>'
        to_html(texts[o], target, meta=metas[o], site=cfg.title, root=os.path.relpath(OUT, target.parent),
                repo=cfg.git_url, menu=menu(files, metas, o, made), **near)
    anchors = {(OUT/made[o]).resolve(): Page(OUT/made[o]).ids for o in files}
    for o in files: localise(OUT/made[o], o, made, cfg.doc_host+cfg.doc_baseurl, anchors)
    if dead := sorted(set(dead_links(cfg))): sys.exit('dead links:\n  '+'\n  '.join(dead))

if __name__ == '__main__': main()
