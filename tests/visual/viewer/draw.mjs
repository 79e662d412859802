// node draw.mjs CHROMIUM <JOBS: reads a list of jobs, draws each in a browser, prints one line of JSON for each.
// job: {name, prometheus (address), now (s), picture (file), …what window.draw() takes}
import { chromium } from 'playwright-core';
import { existsSync, readFileSync } from 'node:fs';

const AT_ONCE = 2, DEADLINE = 60_000;
const HTML = '<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,"><link rel="stylesheet" href="/viewer/page.css"><script>window.__grafana_public_path__ = "/viewer/public/"</script>'
  + '<body style="margin: 0; background: #111217"><div id="root"></div><script src="/viewer/page.js"></script>';

/** The page lives below the address of the Prometheus that it asks, so that it may ask; its files come from here. */
function serve(route) {
  const path = new URL(route.request().url()).pathname.slice('/viewer/'.length);
  if (!path) return route.fulfill({ body: HTML, contentType: 'text/html' });
  const file = path
    .replace(/^public\/build\/img\//, 'node_modules/@grafana/ui/dist/public/img/')
    .replace(/^public\/fonts\/inter\//, 'node_modules/inter-ui/web/');
  return existsSync(file) ? route.fulfill({ path: file }) : route.fulfill({ status: 404 });
}

/** Returns when nothing has changed for a while and nothing is left to do: what is drawn on a busy machine comes late. */
const settled = () => new Promise((resolve) => {
  let timer, idle;
  const wait = () => {
    clearTimeout(timer);
    cancelIdleCallback(idle);
    timer = setTimeout(() => { idle = requestIdleCallback(done); }, 250);
  };
  const watch = new MutationObserver(wait);
  const done = () => { watch.disconnect(); document.fonts.ready.then(() => requestAnimationFrame(() => requestAnimationFrame(resolve))); };
  wait();
  watch.observe(document, { subtree: true, childList: true, attributes: true, characterData: true });
  setTimeout(done, 20_000);
});

/** A page below the address of a Prometheus, for all pictures of it: the bundle is large. `trouble` is what the browser complains about. */
async function open(browser, { prometheus, now }) {
  const page = await browser.newPage();
  const trouble = [];
  page.setDefaultTimeout(DEADLINE);
  page.on('pageerror', (error) => trouble.push({ panel: '', kind: 'error', what: String(error) }));
  // What Prometheus answers is told with the panel that asked; the font of code is in no package, so another one is taken.
  const told = (url) => url.includes('/api/v1/') || url.includes('/fonts/roboto');
  page.on('console', (message) => message.type() === 'error' && !told(message.location().url) && trouble.push({ panel: '', kind: 'error', what: message.text().slice(0, 300) }));
  await page.clock.setFixedTime(now * 1000);
  await page.route('**/viewer/**', serve);
  await page.goto(`${prometheus}/viewer/`);
  return { page, trouble, prometheus };
}

async function draw({ page, trouble }, { picture, width, ...job }) {
  await page.setViewportSize({ width, height: 800 });
  const height = await page.evaluate((job) => window.draw(job), { width, ...job });
  await page.setViewportSize({ width, height });
  await page.evaluate(settled);
  const panels = await page.evaluate(() => window.look());
  const seen = await page.evaluate(() => window.trouble);
  const png = await page.screenshot({ path: picture });
  const colours = await page.evaluate((png) => window.colours(png), png.toString('base64'));
  panels.forEach((panel, n) => { panel.colours = colours[n]; });
  return { height, panels, trouble: [...seen, ...trouble.splice(0)] };
}

async function drawAll(browser, jobs) {
  let place;
  for (let job = jobs.shift(); job; job = jobs.shift()) {
    let drawn;
    try {
      if (place?.prometheus !== job.prometheus) {
        await place?.page.close();
        place = await open(browser, job);
      }
      drawn = await draw(place, job);
    } catch (error) {
      drawn = { height: 0, panels: [], trouble: [...place?.trouble ?? [], { panel: '', kind: 'error', what: String(error).slice(0, 500) }] };
      await place?.page.close();
      place = undefined;
    }
    console.log(JSON.stringify({ name: job.name, ...drawn }));
  }
}

const jobs = JSON.parse(readFileSync(0));
const browser = await chromium.launch({ executablePath: process.argv[2], args: ['--no-sandbox', '--disable-gpu', '--disable-background-networking', '--hide-scrollbars'] });
await Promise.all(Array.from({ length: AT_ONCE }, () => drawAll(browser, jobs)));
await browser.close();
