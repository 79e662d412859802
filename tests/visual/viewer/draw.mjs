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

/** Returns when nothing has changed for a while. */
const settled = () => new Promise((resolve) => {
  const done = () => { watch.disconnect(); document.fonts.ready.then(() => requestAnimationFrame(() => requestAnimationFrame(resolve))); };
  let timer = setTimeout(done, 250);
  const watch = new MutationObserver(() => { clearTimeout(timer); timer = setTimeout(done, 250); });
  watch.observe(document, { subtree: true, childList: true, attributes: true, characterData: true });
  setTimeout(done, 5000);
});

async function draw(browser, { name, prometheus, now, picture, ...job }) {
  const page = await browser.newPage({ viewport: { width: job.width, height: 800 } });
  page.setDefaultTimeout(DEADLINE);
  const trouble = [];
  page.on('pageerror', (error) => trouble.push({ panel: '', kind: 'error', what: String(error) }));
  // What Prometheus answers is told with the panel that asked; the font of code is in no package, so another one is taken.
  const told = (url) => url.includes('/api/v1/') || url.includes('/fonts/roboto');
  page.on('console', (message) => message.type() === 'error' && !told(message.location().url) && trouble.push({ panel: '', kind: 'error', what: message.text().slice(0, 300) }));
  try {
    await page.clock.setFixedTime(now * 1000);
    await page.route('**/viewer/**', serve);
    await page.goto(`${prometheus}/viewer/`);
    const height = await page.evaluate((job) => window.draw(job), job);
    await page.setViewportSize({ width: job.width, height });
    await page.evaluate(settled);
    const panels = await page.evaluate(() => window.look());
    trouble.unshift(...await page.evaluate(() => window.trouble));
    await page.screenshot({ path: picture });
    return { name, height, panels, trouble };
  } catch (error) {
    return { name, height: 0, panels: [], trouble: [...trouble, { panel: '', kind: 'error', what: String(error).slice(0, 500) }] };
  } finally {
    await page.close();
  }
}

const jobs = JSON.parse(readFileSync(0));
const browser = await chromium.launch({ executablePath: process.argv[2], args: ['--no-sandbox', '--disable-gpu', '--disable-background-networking', '--hide-scrollbars'] });
await Promise.all(Array.from({ length: AT_ONCE }, async () => {
  for (let job = jobs.shift(); job; job = jobs.shift()) console.log(JSON.stringify(await draw(browser, job)));
}));
await browser.close();
