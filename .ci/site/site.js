// The site works without this; with it, it has a search, copy buttons, a dark mode that is remembered and,
// on a phone, a menu that opens.
const root = document.documentElement
const find = selector => document.querySelector(selector)
const findAll = selector => document.querySelectorAll(selector)

function show(element, visible) { element.hidden = !visible }

function make(tag, text, parent) {
  const element = document.createElement(tag)
  element.textContent = text
  parent.append(element)
  return element
}

// Dark mode

function isDark() {
  const chosen = root.dataset.theme
  return chosen ? chosen == 'dark' : matchMedia('(prefers-color-scheme: dark)').matches
}

function startTheme() {
  const button = find('.theme-switch')
  const tell = () => button.setAttribute('aria-pressed', isDark())
  button.onclick = () => {
    root.dataset.theme = isDark() ? 'light' : 'dark'
    try { localStorage.setItem('theme', root.dataset.theme) } catch { }  // a browser may forbid it
    tell()
  }
  tell()
  show(button, true)
}

// Menu and contents

function startMenu() {
  const button = find('.menu-switch'), menu = find('#menu'), here = find('#menu [aria-current]')
  button.onclick = () => {
    const open = button.getAttribute('aria-expanded') != 'true'
    button.setAttribute('aria-expanded', open)
    root.classList.toggle('menu-open', open)
    bringIntoView()
  }
  const bringIntoView = () => { if (here) menu.scrollTop = here.offsetTop - menu.clientHeight/3 }
  root.classList.add('scripted')
  show(button, true)
  bringIntoView()
}

function startContents() {
  const contents = find('.contents'), wide = matchMedia('(min-width: 90rem)')
  if (!contents) return
  const fit = () => { contents.open = wide.matches }
  wide.onchange = fit
  fit()
}

// Code, tables and equations

function addCopyButtons() {
  if (!navigator.clipboard) return  // a browser gives it to secure pages only
  for (const block of findAll('div.sourceCode')) {
    const button = make('button', 'Copy', block)
    button.className = 'copy'
    button.onclick = async () => {
      await navigator.clipboard.writeText(block.querySelector('code').innerText)
      button.textContent = 'Copied'
      setTimeout(() => { button.textContent = 'Copy' }, 2000)
    }
  }
}

function fitEquations() {  // a little smaller where they are too wide; what is wider still scrolls
  for (const box of findAll('.equation')) {
    box.style.fontSize = ''
    const share = box.clientWidth/box.scrollWidth
    if (share < 1) box.style.fontSize = `${Math.max(0.6, 0.95*share)}em`
  }
}

function letKeysScroll() {  // what is wider than its box can be reached by keyboard
  for (const box of findAll('pre, table, .equation, .output')) {
    if (box.scrollWidth > box.clientWidth) box.tabIndex = 0
    else box.removeAttribute('tabindex')
  }
}

function fitAll() {
  fitEquations()
  letKeysScroll()
}

// Search: every word must be found in a section; a name counts most, and for the page as a whole its title

const MOST = 30

function loadIndex() {
  if (loadIndex.loaded) return loadIndex.loaded
  loadIndex.loaded = new Promise((resolve, reject) => {
    const script = document.createElement('script')
    script.src = `${root.dataset.root}/search.js`
    script.onload = resolve
    script.onerror = reject
    document.head.append(script)
  })
  return loadIndex.loaded
}

function begins(word, text) {  // at its start, or at the start of one of its words
  const at = text.indexOf(word)
  return at == 0 || at > 0 && !/[a-z\d]/.test(text[at - 1])
}

function worth(word, title, heading, text, isPage) {
  if (heading == word) return 100
  if (begins(word, heading)) return 40
  if (isPage && begins(word, title)) return 30
  if (heading.includes(word)) return 20
  if (begins(word, title)) return 10
  if (title.includes(word)) return 5
  return text.includes(word) ? 1 : 0
}

function search(query) {
  const phrase = query.toLowerCase().trim(), words = phrase.split(/\s+/).filter(Boolean)
  const rated = []
  for (const row of searched) {
    const [address, title, heading, text] = row.map(part => part.toLowerCase())
    const isPage = !address.includes('#')
    const worths = words.map(word => worth(word, title, heading, text, isPage))
    if (!words.length || Math.min(...worths) == 0) continue
    const first = isPage ? 15 : 0  // the beginning of a page, rather than a section of it
    const whole = words.length > 1 && heading.includes(phrase) ? 80 : 0
    rated.push([worths.reduce((a, b) => a + b, first + whole), row])
  }
  rated.sort((a, b) => b[0] - a[0])
  return [words, rated.map(([, row]) => row)]
}

function excerpt(text, words, parent) {  // around the first word that is found, all of them marked
  const lower = text.toLowerCase()
  const first = Math.min(...words.map(word => lower.indexOf(word)).filter(place => place >= 0), text.length)
  const start = first == text.length ? 0 : text.lastIndexOf(' ', Math.max(0, first - 60)) + 1
  const end = text.indexOf(' ', start + 170)
  const part = (start ? '… ' : '') + (end < 0 ? text.slice(start) : `${text.slice(start, end)} …`)
  const marks = new RegExp(`(${words.map(word => word.replace(/[^\w\s]/g, '\\$&')).join('|')})`, 'gi')
  const paragraph = make('p', '', parent)
  part.split(marks).forEach((piece, i) => i % 2 ? make('mark', piece, paragraph) : paragraph.append(piece))
}

function showResults(query) {
  const panel = find('#results'), list = find('#results ol')
  const [words, rows] = search(query)
  list.replaceChildren()
  find('#results p').textContent = rows.length ? `${rows.length} found` : `Nothing found for “${query}”`
  for (const [address, title, heading, text] of rows.slice(0, MOST)) {
    const item = make('li', '', list)
    const link = make('a', heading, item)
    link.href = `${root.dataset.root}/${address}`
    link.onclick = () => show(panel, false)  // it may lead to a place on this page
    const place = address.includes('#') ? title : title.slice(heading.length + 2)  // "Mixing, losses"
    if (place) make('small', `in ${place}`, item)
    excerpt(text, words, item)
  }
  show(panel, words.length > 0)
}

function startSearch() {
  const form = find('.search'), input = find('.search input'), panel = find('#results')
  const close = () => show(panel, false)
  input.onfocus = loadIndex
  input.oninput = () => loadIndex().then(() => showResults(input.value))
  form.onsubmit = event => {
    event.preventDefault()
    find('#results a')?.click()
  }
  document.addEventListener('keydown', event => {
    if (event.key == 'Escape') close()
    if (event.key != '/' || event.target.matches('input, textarea')) return
    event.preventDefault()
    input.focus()
  })
  document.addEventListener('click', event => { if (!event.target.closest('#results, .search')) close() })
  show(form, true)
}

startTheme()
startMenu()
startContents()
addCopyButtons()
startSearch()
fitAll()
addEventListener('resize', fitAll)
document.addEventListener('toggle', fitAll, true)  // what was folded has no width
