"The search index: what each section of each page says, as a script that the pages load when someone searches."
import json
from html.parser import HTMLParser

SILENT = 'pre', 'math', 'script', 'style', 'table', 'footer', 'summary', 'nav'  # what is not searched
HEADINGS = 'h1', 'h2', 'h3', 'h4'

class Sections(HTMLParser):
    "The sections of a page's <main>: [anchor, heading, text]."
    def __init__(self, path):
        super().__init__()
        self.found,self.in_main,self.silent,self.in_heading = [],False,0,False
        self.feed(path.read_text(encoding='utf-8'))

    def handle_starttag(self, tag, attributes):
        if tag == 'main': self.in_main = True
        if tag in SILENT: self.silent += 1
        if tag in HEADINGS and self.in_main:
            self.found.append([dict(attributes).get('id', ''), '', ''])
            self.in_heading = True

    def handle_endtag(self, tag):
        if tag == 'main': self.in_main = False
        if tag in SILENT: self.silent -= 1
        if tag in HEADINGS: self.in_heading = False

    def handle_data(self, data):
        if not self.in_main or self.silent or not self.found: return
        self.found[-1][1 if self.in_heading else 2] += data

def write_index(out, pages):
    "search.js in the folder `out`, from its pages (path, title)."
    rows = []
    for path,title in pages:
        for anchor,heading,text in Sections(out/path).found:
            address = path.as_posix()+(f'#{anchor}' if anchor else '')
            rows.append([address, title, ' '.join(heading.split()), ' '.join(text.split())])
    text = json.dumps(rows, ensure_ascii=False, separators=(',', ':'))
    (out/'search.js').write_text(f'const searched = {text};\n', encoding='utf-8')
