"The search index: what each section of each page says, as a script that the pages load when someone searches."
import json
from html.parser import HTMLParser

SILENT = 'pre', 'math', 'script', 'style', 'footer', 'summary', 'nav'  # what is not searched
HEADINGS = 'h1', 'h2', 'h3', 'h4'

class Sections(HTMLParser):
    "The sections of a page's <main>: [anchor, heading, text]. Tables that pandas wrote are numbers, and left out."
    def __init__(self, path):
        super().__init__()
        self.found,self.open,self.in_main = [],[],False
        self.feed(path.read_text(encoding='utf-8'))

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        if tag == 'main': self.in_main = True
        if tag in SILENT or given.get('class') in ('dataframe', 'made-from'): self.open.append(tag)
        if tag in HEADINGS and self.in_main:
            self.found.append([given.get('id', ''), '', ''])
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag == 'main': self.in_main = False
        if self.open and self.open[-1] == tag: self.open.pop()
        elif tag == 'p' and self.in_main and self.found: self.end_paragraph()

    def handle_data(self, data):
        if not self.in_main or not self.found or self.is_code_link(data): return
        if not self.open: self.found[-1][2] += data
        elif self.open[-1] in HEADINGS: self.found[-1][1] += data

    def end_paragraph(self):
        "A lead and a docstring end without a full stop, and another text follows."
        text = self.found[-1][2].rstrip()
        self.found[-1][2] = text+(' ' if not text or text[-1] in '.?!:;,…' else '. ')

    def is_code_link(self, data): return self.lasttag == 'a' and data == 'source'

def write_index(out, pages):
    "search.js in the folder `out`, from its pages (path, title)."
    rows = []
    for path,title in pages:
        for anchor,heading,text in Sections(out/path).found:
            address = path.as_posix()+(f'#{anchor}' if anchor else '')
            rows.append([address, title, ' '.join(heading.split()), ' '.join(text.split())])
    text = json.dumps(rows, ensure_ascii=False, separators=(',', ':'))
    (out/'search.js').write_text(f'const searched = {text};\n', encoding='utf-8')
