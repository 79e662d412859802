// window.look(): what a person would notice in the drawn page. Adds to window.trouble, returns every panel's text.

const content = (box) => box.querySelector('[data-testid="data-testid panel content"]') ?? box;
const shortened = (text) => (text.length > 60 ? `${text.slice(0, 57)}…` : text);

function* texts(root) {
  const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    if (node.data.trim() && node.parentElement.checkVisibility({ opacityProperty: true, visibilityProperty: true }) && !node.parentElement.closest('style')) yield node;
  }
}

function rectangle(node) {
  const range = document.createRange();
  range.selectNodeContents(node);
  return range.getBoundingClientRect();
}

/** Why not all of a text can be read: '', 'cut', 'sideways' (needs scrolling to the side), 'below' (needs scrolling down), 'unseen'. */
function hidden(node, box) {
  const own = rectangle(node);
  for (let parent = node.parentElement; parent; parent = parent.parentElement) {
    const style = getComputedStyle(parent);
    const edge = parent.getBoundingClientRect();
    if (edge.width <= 1 && style.overflowX !== 'visible') return 'unseen'; // by intention, for screen readers
    // What ends in three dots is cut even by a hair.
    const spare = style.textOverflow === 'ellipsis' ? 0.1 : 1;
    const wide = own.right > edge.right + spare || own.left < edge.left - 1;
    const high = own.bottom > edge.bottom + 2 || own.top < edge.top - 2;
    if (parent === box) return wide || high ? 'cut' : '';
    if (wide && style.overflowX !== 'visible') return /auto|scroll/.test(style.overflowX) ? 'sideways' : 'cut';
    if (high && style.overflowY !== 'visible') return /auto|scroll/.test(style.overflowY) ? 'below' : 'cut';
  }
  return '';
}

// ---------------------------------------------------------------------------------------------------------- contrast

const channels = (colour) => (colour.match(/[\d.]+/g) ?? []).map(Number);
const luminance = (colour) => channels(colour).slice(0, 3).map((c) => c / 255).map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)).reduce((sum, c, n) => sum + c * [0.2126, 0.7152, 0.0722][n], 0);

function behind(element) {
  for (let parent = element; parent; parent = parent.parentElement) {
    const { backgroundColor, backgroundImage } = getComputedStyle(parent);
    const gradient = /gradient\(.*?(rgba?\([^)]*\))/.exec(backgroundImage)?.[1];
    const colour = gradient ?? backgroundColor;
    if ((channels(colour)[3] ?? 1) > 0.5) return colour;
  }
  return 'rgb(17, 18, 23)';
}

/** WCAG 1.4.3: 3:1 for large text, 4.5:1 for the rest. Text that shines through is taken as opaque. */
function faint(element) {
  const { color, fontSize, fontWeight } = getComputedStyle(element);
  const [dark, light] = [luminance(color), luminance(behind(element))].sort((a, b) => a - b);
  const ratio = (light + 0.05) / (dark + 0.05);
  const large = parseFloat(fontSize) >= (fontWeight >= 700 ? 18.66 : 24);
  return ratio < (large ? 3 : 4.5) ? ratio.toFixed(1) : '';
}

// ------------------------------------------------------------------------------------------------------------- panels

const finite = (frames) => frames.some(({ fields }) => fields.some(({ type, values }) => (type === 'number' && values.some((value) => typeof value === 'number' && Number.isFinite(value))) || type === 'frame'));

/** Pixels with a colour; axes and grids are grey. */
function coloured(canvas) {
  const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
  let count = 0;
  for (let n = 0; n < data.length; n += 4) {
    if (data[n + 3] > 60 && Math.max(data[n], data[n + 1], data[n + 2]) - Math.min(data[n], data[n + 1], data[n + 2]) > 30) count += 1;
  }
  return count;
}

function empty({ panel, frames }, box, text) {
  if (panel.type === 'text') return text === '';
  const said = (panel.fieldConfig.defaults.noValue ?? 'No data').replace(/\s+/g, ' ');
  if (!finite(frames)) return ['timeseries', 'heatmap'].includes(panel.type) ? !text.includes(said) : text === '';
  if (!['timeseries', 'heatmap'].includes(panel.type)) return text === '';
  return [...box.querySelectorAll('canvas')].reduce((sum, canvas) => sum + coloured(canvas), 0) < 4;
}

export function look() {
  return window.drawn.map((answer) => {
    const { panel } = answer;
    const box = document.querySelector(`[data-panel="${panel.id}"]`);
    const found = {}; // texts by kind of trouble
    const complain = (kind, what) => (found[kind] ??= new Set()).add(shortened(what));
    const words = [];
    for (const node of texts(box)) {
      const { parentElement: element, data } = node;
      const inside = content(box).contains(node);
      const why = hidden(node, box);
      if (why === 'unseen') continue;
      if (inside) words.push(data.trim());
      // A long table or text may be scrolled down; a legend, nobody scrolls.
      if (why && !(why === 'below' && ['table', 'text'].includes(panel.type))) complain(why, data.trim());
      if (why || !inside) continue;
      if (parseFloat(getComputedStyle(element).fontSize) < 10) complain('small', data.trim());
      const ratio = ['stat', 'table', 'bargauge'].includes(panel.type) && faint(element);
      if (ratio) complain('faint', `${data.trim()} (${ratio}:1)`);
    }
    if (empty(answer, content(box), words.join(' ').replace(/\s+/g, ' '))) complain('empty', 'neither data nor a reason why there is none');
    for (const [kind, what] of Object.entries(found)) window.trouble.push({ panel: panel.title ?? '', kind, what: [...what].slice(0, 4).join(', ') + (what.size > 4 ? `, … (${what.size})` : '') });
    return { title: panel.title ?? '', type: panel.type, words, queries: answer.told };
  });
}

// ------------------------------------------------------------------------------------------------------------ colours

const COLUMNS = 12, ROWS = 4, SHARES = [0, 0.01, 0.03, 0.1, 0.3];

/** Of 0 to 11, a twelfth of the circle each; undefined for grey, which the words tell. */
function hue(red, green, blue) {
  const high = Math.max(red, green, blue), span = high - Math.min(red, green, blue);
  if (span <= 40) return undefined;
  const sixth = high === red ? (green - blue) / span : high === green ? 2 + (blue - red) / span : 4 + (red - green) / span;
  return (Math.round(sixth * 2) + 12) % 12;
}

/** How much of a part of a picture is coloured (1 to 5), and in which hue mostly (a letter); '..' if nothing is. */
function cell({ data }) {
  const counts = Array(12).fill(0);
  for (let n = 0; n < data.length; n += 4) {
    const one = hue(data[n], data[n + 1], data[n + 2]);
    if (one !== undefined) counts[one] += 1;
  }
  const share = counts.reduce((sum, count) => sum + count) / (data.length / 4);
  const level = SHARES.filter((least) => share > least).length;
  return level ? `${level}${'abcdefghijkl'[counts.indexOf(Math.max(...counts))]}` : '..';
}

/** window.colours(): where a picture (PNG, base64) has which colours, a grid of cells for each panel; '' where it has none. */
export async function colours(png) {
  const image = await createImageBitmap(await (await fetch(`data:image/png;base64,${png}`)).blob());
  const context = new OffscreenCanvas(image.width, image.height).getContext('2d', { willReadFrequently: true });
  context.drawImage(image, 0, 0);
  return window.drawn.map(({ panel }) => {
    const { left, top, width, height } = document.querySelector(`[data-panel="${panel.id}"]`).getBoundingClientRect();
    const [wide, high] = [width / COLUMNS, height / ROWS];
    const rows = Array.from({ length: ROWS }, (_, y) => Array.from({ length: COLUMNS }, (_, x) => cell(context.getImageData(left + x * wide, top + y * high, wide, high))).join(''));
    return rows.some((row) => /\d/.test(row)) ? rows.join(' ') : '';
  });
}
