"""The docs site without Quarto: nbdev prepares the notebooks, pandoc makes the pages, every link and anchor is checked.

`python .ci/docs.py` builds _docs and exits with 1 and a list if a link is dead; `--sidebar` writes nbs/sidebar.yml (Quarto's list of
pages) from the notebooks' numbers; `--prepare` stops after nbdev's part, for Quarto to go on from _proc."""
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

def pages(root=NBS):
    "Notebooks below `root` in the order of their numbers, index first; a folder stands where its first notebook does."
    number = lambda p: int(m[0]) if (m := re.match(r'\d+', p.name)) else -2 if p.stem == 'index' else -1
    files = [o.relative_to(root) for o in root.rglob('*.ipynb') if not any(p[0] in '._' for p in o.relative_to(root).parts)]
    first = {o.parent: min(number(p) for p in files if p.parent == o.parent) for o in files}
    return sorted(files, key=lambda o: (first[o.parent] if len(o.parts) > 1 else number(o), number(o), o.name))

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
        contents += [dict(section=folder, contents=[o.as_posix() for o in os_])] if folder else [o.as_posix() for o in os_]
    text = yaml.safe_dump(dict(website=dict(sidebar=dict(contents=contents))), sort_keys=False)
    return '# Written by `python .ci/docs.py --sidebar`: the notebooks in the order of their numbers.\n'+text

def fenced(text, kind=''): return f'\n\n~~~~~~~~~~ {kind}\n{text.rstrip()}\n~~~~~~~~~~\n\n'

def output(out, target, asis):
    "One stored output as markdown; a picture becomes the file `target`."
    if out['output_type'] == 'stream': return ''.join(out['text']) if asis else fenced(''.join(out['text']), '{.output}')
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
        if cell['cell_type'] == 'raw': meta |= yaml.safe_load(source.strip().strip('-')) or {} if source.lstrip().startswith('---') else {}
        elif cell['cell_type'] == 'markdown': body.append(source)
        else:
            options = dict(DIRECTIVE.findall(source))
            if options.get('include') == 'false': continue
            code = DIRECTIVE.sub('', source).strip()
            shown = fenced(code, '{.python}') if code and options.get('echo') != 'false' else ''
            if shown and 'code-fold' in options:
                shown = f'\n\n<details open><summary>{options.get("code-summary", "Code").strip(chr(34))}</summary>{shown}</details>\n\n'
            asis = options.get('output') == 'asis'
            name = target.parent/(target.stem+'_files')/f'{cell.get("id", i)}'
            outs = [output(o, name.with_name(f'{name.name}-{j}.x'), asis) for j,o in enumerate(cell['outputs'])]
            body += [shown, *(outs if options.get('output') != 'false' else [])]
    return meta,'\n\n'.join(body)

def to_html(text, target, **variables):
    meta = OUT/'meta.json'
    meta.write_text(json.dumps(variables.pop('meta')), encoding='utf-8')
    cmd = [pypandoc.get_pandoc_path(), '--from=markdown-yaml_metadata_block', '--to=html5', '--standalone', '--mathml', '--toc',
           '--columns=9999', '--fail-if-warnings', f'--template={HERE/"page.html"}', f'--metadata-file={meta}', f'--output={target}']
    cmd += [f'--variable={k}={v}' for k,v in variables.items()]
    done = subprocess.run(cmd, input=text, capture_output=True, text=True, encoding='utf-8')
    meta.unlink()
    if done.returncode: sys.exit(f'pandoc cannot make {target.relative_to(OUT)}:\n{done.stderr}')

def menu(files, metas, page, made):
    "The sidebar, as seen from `page`."
    rel = lambda o: Path(os.path.relpath(OUT/made[o], (OUT/made[page]).parent)).as_posix()
    number = lambda o: (m := re.match(r'\d+', o.name)) and m[0] or ''
    title = lambda o: 'Overview' if o.stem == 'index' else metas[o]['title']
    label = lambda o: f'<a href="{rel(o)}"><span>{number(o)}</span>{html.escape(title(o))}</a>'
    item = lambda o: f'<li{" class=here" if o == page else ""}>{label(o)}</li>'
    return ''.join((f'<h2>{f}</h2>' if f else '')+'<ul>'+''.join(map(item, os_))+'</ul>' for f,os_ in sections(files))

def localise(target, source, made, site, anchors):
    "Links of one page: .ipynb → .html, the site's own address → relative; a method's link without a heading goes to its class."
    def one(m):
        url = html.unescape(m[2])
        path,_,frag = url.partition('#')
        if path.startswith(site): path = os.path.relpath(OUT/(path[len(site):].strip('/') or 'index.html'), target.parent)
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
        self.ids,self.links = set(),[]
        self.feed(path.read_text(encoding='utf-8'))
    def handle_starttag(self, tag, attrs):
        for k,v in attrs:
            if k in ('id', 'name') and v: self.ids.add(v)
            if k in ('href', 'src') and v is not None: self.links.append(v)

def dead_links(cfg):
    "Every link that leads nowhere; addresses of other sites are only checked for their form."
    seen,out = {o.resolve(): Page(o) for o in OUT.rglob('*.html')},OUT.resolve()
    blob = f'{cfg.git_url}/blob/{cfg.branch}/'
    for page,parsed in seen.items():
        for link in parsed.links:
            url = urlsplit(link)
            if link.startswith(blob): ok = (ROOT/unquote(url.path.split(f'/blob/{cfg.branch}/')[1])).exists() and url.fragment != 'LNone'
            elif url.scheme in ('http', 'https'): ok = '.' in url.netloc and ' ' not in link
            elif url.scheme in ('data', 'mailto'): ok = True
            else:
                to = (page.parent/unquote(url.path)).resolve() if url.path else page
                ok = to.is_file() and out in to.parents and (not url.fragment or to not in seen or unquote(url.fragment) in seen[to].ids)
            if not ok: yield f'{page.relative_to(out).as_posix()}: {link}'
    print(f'{len(seen)} pages, {sum(len(p.links) for p in seen.values())} links')

def main():
    files,cfg = pages(),get_config()
    yml = NBS/'sidebar.yml'
    if '--sidebar' in sys.argv: return yml.write_text(sidebar_yml(files), encoding='utf-8')
    if not yml.exists() or yml.read_text(encoding='utf-8') != sidebar_yml(files):
        sys.exit('nbs/sidebar.yml is out of date: run python .ci/docs.py --sidebar')
    if cfg.lib_name not in NbdevLookup().entries: sys.exit("names cannot be linked: pip install -e '.[dev]' first")
    try: proc_nbs(force=True)
    except Exception as e: sys.exit(f'nbdev cannot process the notebooks: {e}')
    lost = [o.as_posix() for o in files if not (PROC/o).exists()]
    if lost: sys.exit(f'nbdev could not process {", ".join(lost)} (see above)')
    if '--prepare' in sys.argv: return
    shutil.rmtree(OUT, ignore_errors=True)
    shutil.copytree(PROC, OUT, ignore=shutil.ignore_patterns('*.ipynb', '*.yml', '_docs'))
    shutil.copy(HERE/'site.css', OUT)
    made = {o: _nbpath2html(o) for o in files}
    texts,metas = {},{}
    for o in files:
        metas[o],texts[o] = markdown(json.loads((PROC/o).read_text(encoding='utf-8')), OUT/made[o])
        metas[o] = dict(title=o.stem, description='') | metas[o] | dict(pagetitle=f'{metas[o].get("title", o.stem)} – {cfg.title}')
    for i,o in enumerate(files):
        target = OUT/made[o]
        target.parent.mkdir(parents=True, exist_ok=True)
        near = {k: files[j] for k,j in dict(previous=i-1, next=i+1).items() if 0 <= j < len(files)}
        near = {k: f'<a href="{os.path.relpath(OUT/made[p], target.parent)}">{html.escape(metas[p]["title"])}</a>' for k,p in near.items()}
        to_html(texts[o], target, meta=metas[o], site=cfg.title, root=os.path.relpath(OUT, target.parent), repo=cfg.git_url,
                menu=menu(files, metas, o, made), **near)
    anchors = {(OUT/made[o]).resolve(): Page(OUT/made[o]).ids for o in files}
    for o in files: localise(OUT/made[o], o, made, cfg.doc_host+cfg.doc_baseurl, anchors)
    if dead := sorted(set(dead_links(cfg))): sys.exit('dead links:\n  '+'\n  '.join(dead))

if __name__ == '__main__': main()
