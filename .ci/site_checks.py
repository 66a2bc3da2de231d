"What must hold of the finished site: live links, no requests to other sites, a text for every picture, titles."
import re
from html.parser import HTMLParser
from urllib.parse import unquote, urlsplit

FETCHED = 'script', 'img', 'link', 'iframe', 'source', 'video', 'audio', 'object', 'embed'

class Page(HTMLParser):
    "The anchors, links, pictures and head of one page."
    def __init__(self, path):
        super().__init__()
        self.path,self.ids,self.links,self.fetched = path,set(),[],[]
        self.undescribed,self.unread,self.title,self.summary = [],[],'',''
        self.feed(path.read_text(encoding='utf-8'))

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.ids |= {given[key] for key in ('id', 'name') if given.get(key)}
        addresses = [given[key] for key in ('href', 'src') if given.get(key) is not None]
        self.links += addresses
        if tag in FETCHED: self.fetched += addresses
        if tag == 'img' and not (given.get('alt') or '').strip(): self.undescribed.append(given.get('src'))
        if tag == 'meta' and given.get('name') == 'description': self.summary = given['content']

    def handle_data(self, data):
        if self.lasttag == 'title' and not self.title: self.title = data.strip()
        if '`](http' in data: self.unread.append(data.strip())

def problems_of(out, root, blob):
    "Everything that is wrong with the site in `out`; `blob` is the address of the sources in `root`."
    pages = {path.resolve(): Page(path.resolve()) for path in out.rglob('*.html')}
    for path,page in pages.items():
        name = path.relative_to(out.resolve()).as_posix()
        for text in page.unread: yield f'{name}: a link that reads {text}'
        for link in page.links:
            if not leads_somewhere(link, path, pages, out.resolve(), root, blob): yield f'{name}: {link} leads nowhere'
        for address in page.fetched:
            if urlsplit(address).netloc: yield f'{name}: fetches {address} from another site'
        for address in page.undescribed: yield f'{name}: the picture {address} has no text (alt)'
        if not page.summary: yield f'{name}: no description; write "> a sentence" under the title'
    titles = [page.title for page in pages.values()]
    yield from (f'{title!r} is the title of several pages' for title in set(titles) if titles.count(title) > 1)
    for path in (*out.glob('*.css'), *out.glob('*.js')):
        for address in re.findall(r'(?:url\(|@import|fetch\(|src *=) *["\']?(?:https?:)?//[^"\')\s]*', path.read_text(encoding='utf-8')):
            yield f'{path.name}: fetches {address}'
    print(f'{len(pages)} pages, {sum(len(page.links) for page in pages.values())} links')

def leads_somewhere(link, path, pages, out, root, blob):
    "Addresses of other sites are only checked for their form, files of the repository by their names."
    url = urlsplit(link)
    if link.startswith(blob): return (root/unquote(link.removeprefix(blob).split('#')[0])).exists() and url.fragment != 'LNone'
    if url.scheme in ('http', 'https'): return '.' in url.netloc and ' ' not in link
    if url.scheme in ('data', 'mailto'): return True
    target = (path.parent/unquote(url.path)).resolve() if url.path else path
    anchored = not url.fragment or target not in pages or unquote(url.fragment) in pages[target].ids
    return target.is_file() and out in target.parents and anchored
