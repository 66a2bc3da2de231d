"""The project's checks: `python .ci/check.py` runs all of them, `python .ci/check.py NAME…` some.

One function is one check: it returns a line on what it saw, or raises `Failed`. The last line printed is `N passed, M failed`."""
import ast, json, os, re, shlex, shutil, subprocess, sys, tempfile, time, zipfile
from concurrent.futures import ThreadPoolExecutor
from configparser import ConfigParser
from importlib.metadata import packages_distributions
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
config = ConfigParser(delimiters=['='])
config.read(ROOT/'settings.ini', encoding='utf-8')
CFG = config['DEFAULT']
LIB,NBS = ROOT/CFG['lib_path'],ROOT/CFG['nbs_path']
SCRIPTS = Path(sys.executable).parent
PATH = f'{SCRIPTS}{os.pathsep}{os.environ["PATH"]}'
ENV = {k: v for k, v in os.environ.items() if k != 'IN_TEST'} | dict(PATH=PATH, PYTHONUTF8='1', PIP_QUIET='1')

class Failed(Exception): pass

def need(problems, what):
    "Fail if there are problems, listing them."
    if problems: raise Failed('\n'.join([f'{what}:', *(f'  {p}' for p in problems)]))

def call(*args, cwd=ROOT, quiet=True):
    "Run a command of this environment; its output is shown if it fails (always, if not `quiet`)."
    args = [shutil.which(args[0], path=PATH) or args[0], *map(str, args[1:])]
    pipe = dict(stdout=subprocess.PIPE, stderr=subprocess.STDOUT) if quiet else {}
    done = subprocess.run(args, cwd=cwd, env=ENV, text=True, encoding='utf-8', errors='replace', stdin=subprocess.DEVNULL, **pipe)
    if done.returncode: raise Failed(f'{" ".join(args)}: exit status {done.returncode}\n{done.stdout or ""}')
    return done.stdout or ''

def readme_command(word):
    "The one command of README.md that contains `word`; a line that ends with a backslash goes on in the next."
    readme = re.sub(r'\\\n *', '', (ROOT/'README.md').read_text(encoding='utf-8'))
    lines = [o for o in readme.splitlines() if '&&' in o and word in o]
    if len(lines) != 1: raise Failed(f'README.md has {len(lines)} command lines with "{word}"; one is needed')
    return lines[0]

def copy_project(folder):
    "The project's files, its notebooks and its package in `folder`."
    copy = Path(folder)/ROOT.name
    for o in (NBS, LIB): shutil.copytree(o, copy/o.name, ignore=shutil.ignore_patterns('__pycache__', '.ipynb_checkpoints'))
    for o in ROOT.iterdir():
        if o.is_file(): shutil.copy(o, copy)
    return copy

def notebooks(root=NBS): return sorted(o for o in root.rglob('*.ipynb') if not any(p[0] in '._' for p in o.relative_to(root).parts))
def modules(root=LIB): return sorted(o for o in root.rglob('*.py') if o.name != '_modidx.py')
def name(path): return path.relative_to(ROOT).as_posix()
def text(path): return path.read_text(encoding='utf-8')
def cells(path): return json.loads(text(path))['cells']
def source(cell): return ''.join(cell['source'])
def parsed(src): return ast.parse('\n'.join('pass' if o.lstrip()[:1] in ('%', '!') else o for o in src.splitlines()))

def mixed(cell):
    "Would nbdev run this cell for the site only because it imports something?"
    src = source(cell)
    if cell['cell_type'] != 'code' or src.startswith('%%'): return False
    if re.search(r'^#\| *(export|exports|exporti|eval: *false)\b', src, re.M): return False
    nodes = list(ast.walk(parsed(src)))
    return any(isinstance(n, (ast.Import, ast.ImportFrom)) for n in nodes) and any(isinstance(n, (ast.Expr, ast.Assign)) for n in nodes)

def clean():
    "notebooks are clean: metadata, stored errors, size, cell names, imports apart"
    problems = []
    with tempfile.TemporaryDirectory() as tmp:
        copy = copy_project(tmp)
        call('nbdev_clean', cwd=copy)
        problems += [f'{name(o)}: run nbdev_clean' for o in notebooks() if text(o) != text(copy/o.relative_to(ROOT))]
    for o in notebooks():
        cs = cells(o)
        if not re.match(r'# .+\n+> .+', source(cs[0])): problems.append(f'{name(o)}: the first cell must be "# Title" and "> subtitle"')
        if o.stat().st_size > 300_000: problems.append(f'{name(o)}: {o.stat().st_size//1000} kB, at most 300')
        ids = [c['id'] for c in cs]
        problems += [f'{name(o)}: two cells are called {i}' for i in {i for i in ids if ids.count(i) > 1}]
        problems += [f'{name(o)}: cell {c["id"]} stores an error' for c in cs
                     if any(out['output_type'] == 'error' for out in c.get('outputs', []))]
        problems += [f'{name(o)}: exported cell {c["id"]} needs a name made of words' for c in cs
                     if re.search(r'^#\| *export', source(c), re.M) and re.fullmatch(r'[0-9a-f]{8}([0-9a-f-]{28})?', c['id'])]
        problems += [f'{name(o)}: cell {c["id"]} imports and does more: move the imports to a cell of their own' for c in cs if mixed(c)]
    need(problems, 'not clean')
    return f'{len(notebooks())} notebooks'

def sync():
    "exported modules equal what the notebooks give"
    with tempfile.TemporaryDirectory() as tmp:
        copy = copy_project(tmp)
        lib = copy/CFG['lib_path']
        for o in lib.rglob('*.py'):
            if o.name != '__init__.py': o.unlink()
        call('nbdev_export', cwd=copy)
        was,now = ({o.relative_to(r).as_posix(): text(o) for o in r.rglob('*.py')} for r in (LIB, lib))
    need([f'{LIB.name}/{o}: {"differs" if o in was and o in now else "is made by no notebook" if o in was else "is missing"}'
          for o in sorted(was.keys() | now.keys()) if was.get(o) != now.get(o)], 'run nbdev_export')
    return f'{len(was)} files'

def imported(src):
    "The package's modules that a cell or module imports, by their names inside the package."
    for node in ast.walk(parsed(src)):
        if isinstance(node, ast.Import): names = [a.name for a in node.names]
        elif isinstance(node, ast.ImportFrom): names = [node.module or '', *(f'{node.module}.{a.name}' for a in node.names)]
        else: continue
        yield from (n.removeprefix(LIB.name+'.') for n in names if n.startswith(LIB.name+'.'))

def order():
    "notebooks' numbers are the order of imports"
    made,uses,problems = {},[],[]
    for o in notebooks():
        number = (m := re.match(r'\d+', o.name)) and int(m[0])
        code = [source(c) for c in cells(o) if c['cell_type'] == 'code']
        module = next((m[1] for c in code if (m := re.search(r'^#\| *default_exp +(\S+)', c, re.M))), None)
        if number is not None and module:
            if number in (n for n, _ in made.values()): problems.append(f'{name(o)}: number {number} is taken')
            made[module] = number,o
            expected = '.'.join([*o.relative_to(NBS).parts[:-1], re.sub(r'^\d+_', '', o.stem)])
            if module.strip('_') != expected: problems.append(f'{name(o)}: exports to {module}, its own name says {expected}')
        elif module: problems.append(f'{name(o)}: exports but has no number')
        if number is not None: uses += [(number, module, o, m) for c in code if not c.startswith('%%') for m in imported(c)]
    problems += [f'{name(o)} imports {m}, whose notebook is {made[m][1].name}' for n, module, o, m in uses
                 if m in made and m != module and made[m][0] >= n]
    need(sorted(set(problems)), 'out of order')
    return f'{len(made)} modules, {len(uses)} imports'

ENGINE = 'methods/', 'training/', 'runs/', 'experiments/', '850_cli'  # what a person opens to extend the package

def rhythm():
    "notebooks show what they define: shares, sizes, widths, outputs, and how many names are public"
    from rhythm import measure
    problems, exports, shown = [], 0, 0
    for o in notebooks():
        r, page = measure(o), o.relative_to(NBS).as_posix()
        exports, shown = exports + r.exports, shown + r.shown
        if r.longest_run > 3: problems.append(f'{page}: {r.longest_run} exported cells in a row without an example, at most 3')
        if r.largest > 40: problems.append(f'{page}: an exported cell of {r.largest} lines, at most 40')
        if r.widest > 110: problems.append(f'{page}: a line of {r.widest} characters, at most 110')
        problems += [f'{page}: an accidental output, {what}' for what in r.accidents]
        if not page.startswith(ENGINE): continue
        if r.exports and r.shown < .6*r.exports: problems.append(f'{page}: {r.shown} of {r.exports} exports shown in use, at least 60 %')
        if not r.pictures: problems.append(f'{page}: no picture, table or printed result')
    if shown < .65*exports: problems.append(f'all notebooks: {shown} of {exports} exports shown in use, at least 65 %')
    public = [name for path in modules() for name in public_names(path)]
    if len(public) > 270: problems.append(f'{len(public)} public names, at most 270')
    problems += [f'{name} is public in more than one module' for name in sorted({n for n in public if public.count(n) > 1})]
    need(problems, 'rhythm')
    return f'{100*shown/exports:.0f} % of {exports} exports shown in use, {len(public)} public names'

def public_names(path):
    "What a module's `__all__` holds."
    assigned = [node for node in ast.parse(text(path)).body if isinstance(node, ast.Assign)]
    values = [node.value for node in assigned if ast.unparse(node.targets[0]) == '__all__']
    return ast.literal_eval(values[0]) if values and isinstance(values[0], ast.List) else []

DECIMAL = re.compile(r'(?<![\w.])\d+\.\d+(?![\w.-])')
CITED = re.compile(r'\bTables?\s+[0-9IVX]|§|\b[Ee]quations?\s+\d|`[A-Z]+-\w+`')  # 'Table 3', '§ 5.1', 'equation 6', `SIM-9`

def paragraphs(prose):
    "Paragraphs and list items, each with the text in which a citation of its numbers may stand: a table's is the whole cell."
    prose = re.sub(r'```.*?```|`[^`]*[^`A-Z\d-][^`]*`|\]\([^)]*\)', ' ', prose, flags=re.S)  # no code, no links
    for part in re.split(r'\n\s*\n|\n(?=\s*[-*] )', prose): yield part, prose if part.startswith('|') else part

def printed_numbers(path):
    "All decimal numbers in the outputs of a notebook."
    shown = []
    for out in (o for c in cells(path) for o in c.get('outputs', [])):
        shown += [out.get('text', []), *(value for kind, value in out.get('data', {}).items() if kind.startswith('text/'))]
    return {number for part in shown for number in DECIMAL.findall(''.join(part))}

def numbers():
    "decimal numbers in the papers' prose are printed by the same notebook, or cited from a table, section or equation"
    problems, seen = [], 0
    for path in sorted((NBS/'papers').glob('*.ipynb')):
        printed = printed_numbers(path)
        for cell in cells(path):
            for part, context in paragraphs(source(cell)) if cell['cell_type'] == 'markdown' else ():
                found = DECIMAL.findall(part)
                seen += len(found)
                if CITED.search(context): continue
                problems += [f'{name(path)}: {number} in cell {cell["id"]}' for number in found if number not in printed]
    need(problems, 'neither in an output nor cited')
    return f'{seen} numbers'

def ruff():
    "ruff on package, notebooks and scripts"
    return call('ruff', 'check', '--output-format=concise', '--no-cache', LIB, NBS, ROOT/'setup.py', ROOT/'.ci', ROOT/'benchmarks').strip()

ALONE = '''import builtins, dis, importlib, sys, types
module = importlib.import_module(sys.argv[1])
def names(code):
    yield from (i.argval for i in dis.get_instructions(code) if i.opname == 'LOAD_GLOBAL')
    for c in code.co_consts:
        if isinstance(c, types.CodeType): yield from names(c)
code = compile(open(module.__file__, encoding='utf-8').read(), module.__file__, 'exec')
missing = sorted({n for n in names(code) if n not in vars(module) and not hasattr(builtins, n)})
sys.exit(f'{sys.argv[1]} uses names it does not have: {missing}' if missing else 0)'''

def imports():
    "each module imports alone, knows its global names, and uses only declared requirements"
    def alone(path):
        dotted = '.'.join(path.relative_to(ROOT).with_suffix('').parts).removesuffix('.__init__')
        try: call(sys.executable, '-c', ALONE, dotted)
        except Failed as e: return str(e)
    problems = [p for p in ThreadPoolExecutor(2).map(alone, modules()) if p]
    flat = lambda o: re.sub(r'[-_.]+', '-', re.match(r'[\w.-]+', o)[0]).lower()
    named = ' '.join(CFG[f'{extra}requirements'] for extra in ('', 'onnx_', 'hub_')).split()
    declared,provided = {flat(o) for o in named},packages_distributions()
    for o in modules():
        tops = {a.name for n in ast.walk(ast.parse(text(o))) if isinstance(n, ast.Import) for a in n.names}
        tops |= {n.module for n in ast.walk(ast.parse(text(o))) if isinstance(n, ast.ImportFrom) and not n.level}
        tops = {t.split('.')[0] for t in tops} - sys.stdlib_module_names - {LIB.name}
        problems += [f'{name(o)}: {t} is no requirement in settings.ini' for t in sorted(tops)
                     if not declared & {flat(d) for d in provided.get(t, [t])}]
    need(problems, 'imports')
    return f'{len(modules())} modules'

def tests():
    "nbdev_test, as the README runs it"
    words = shlex.split(readme_command('nbdev_test').split(' && ')[-1])
    settings = [w for w in words if re.fullmatch('[A-Z_]+=.*', w)]  # NAME=value in front of the command
    ENV.update(w.split('=', 1) for w in settings)
    command = words[len(settings):]
    call(Path(command[0]).name, *command[1:], quiet=False)

def docs():
    "the site builds without Quarto: live links, nothing fetched elsewhere, a text for every picture"
    return call(sys.executable, ROOT/'.ci'/'docs.py').strip().splitlines()[-1]

def readme():
    "README.md equals what index.ipynb gives"
    return call(sys.executable, ROOT/'.ci'/'readme.py', '--check').strip()

def example():
    "the README's commands and Python for one's own folders and network, as a user copies them, on a few drawn tiles"
    blocks = re.findall(r'```(sh|python)\n(.*?)```', text(ROOT/'README.md'), re.S)
    shell = [lines for kind, lines in blocks if kind == 'sh' and 'udalit init' in lines]
    python = [lines for kind, lines in blocks if kind == 'python']
    if len(shell) != 1 or len(python) != 1: raise Failed('README.md needs one block with `udalit init`, and one of Python')
    draw = "from udalit.worlds.written import ensure_aerial; ensure_aerial('my-data', (64, 64), (8, 8), 4)"
    small = shlex.split('--backbone small --steps 4 --batch-size 2')  # added to `udalit run`
    with tempfile.TemporaryDirectory() as tmp:
        call(sys.executable, '-c', draw, cwd=tmp)
        Path(tmp, 'my-data', 'classes.txt').unlink()  # `udalit init` writes one
        for line in shell[0].splitlines():
            words = shlex.split(line, comments=True)
            call(*words, *(small if words[1] == 'run' else ()), cwd=tmp)
        Path(tmp, 'example.py').write_text(python[0], encoding='utf-8')
        printed = call(sys.executable, 'example.py', cwd=tmp)
    scores = re.search('mIoU .*', printed)
    if not scores: raise Failed(f'it printed no scores:\n{printed}')
    return scores[0]

UNSEEN = re.compile(r'^#\| *(hide|echo: *false|include: *false|eval: *false|slow|gpu)\b', re.M)

def pages():
    "each tutorial's visible code runs, as a reader copies it from the page: in order, a fresh process and an empty folder"
    def run(path):
        shown = []
        for c in cells(path):
            if c['cell_type'] != 'code' or UNSEEN.search(source(c)): continue
            shown.append(c | dict(source=[re.sub(r'^%%.*\n', '', source(c))]))  # the site leaves cell magics out
            if source(c).startswith('!'): shown.append(c | dict(source=['assert not _exit_code']))
        with tempfile.TemporaryDirectory() as tmp:
            page = Path(tmp)/path.name
            page.write_text(json.dumps(json.loads(text(path)) | dict(cells=shown)), encoding='utf-8')
            try: call('exec_nb', page, '--exc_stop', cwd=tmp)
            except Failed as e: return f'{name(path)}: {e}'
    tutorials = [o for o in notebooks() if o.parent.name == 'tutorials']
    need([problem for problem in ThreadPoolExecutor(2).map(run, tutorials) if problem], 'these pages fail when copied')
    return f'{len(tutorials)} pages'

def package():
    "the source archive builds, and the wheel made from it holds every module"
    with tempfile.TemporaryDirectory() as tmp:
        copy = copy_project(tmp)
        call(sys.executable, '-m', 'build', '--no-isolation', '--outdir', Path(tmp)/'dist', copy)
        wheel, = (Path(tmp)/'dist').glob('*.whl')
        held = set(zipfile.ZipFile(wheel).namelist())
    need([f'{name(o)} is not in the wheel' for o in LIB.rglob('*.py') if name(o) not in held], 'package')
    return wheel.name

def demo():
    "the README's first command"
    command = readme_command('udalit demo')
    call('bash', '-c', command, quiet=False)
    out = ROOT/shlex.split(command.split('--out')[-1])[0]
    need([o for o in ('results.csv',) if not (out/o).exists()], f'{out} lacks')

CHECKS = [clean, sync, order, numbers, ruff, rhythm, imports, tests, docs, readme, example, pages, package, demo]

def main(wanted):
    unknown = set(wanted) - {c.__name__ for c in CHECKS}
    if unknown: sys.exit(f'no such check: {", ".join(sorted(unknown))}; there are {", ".join(c.__name__ for c in CHECKS)}')
    failed,todo = [],[c for c in CHECKS if not wanted or c.__name__ in wanted]
    for check in todo:
        start = time.time()
        print(f'--- {check.__name__}: {check.__doc__}', flush=True)
        try:
            seen = check()
            print(f'ok, {time.time()-start:.0f} s'+(f': {seen}' if seen else ''), flush=True)
        except Exception as e:
            failed.append(check.__name__)
            print(f'FAILED, {time.time()-start:.0f} s: {e if isinstance(e, Failed) else repr(e)}', flush=True)
    if failed: print(f'failed: {", ".join(failed)}')
    print(f'{len(todo)-len(failed)} passed, {len(failed)} failed')
    sys.exit(bool(failed))

if __name__ == '__main__': main(sys.argv[1:])
