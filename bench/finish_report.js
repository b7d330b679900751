// Opens pages in Chromium, in both themes and at several widths, and prints what is wrong with them as JSON.
// node finish_report.js MODULES CHROMIUM PROFILE WIDTHS PAGE…       (called by finish_report.py)
const [modules, executablePath, profile, widths, ...pages] = process.argv.slice(2);
const fs = require('fs');
const { chromium } = require(`${modules}/playwright-core`);
const axe = fs.readFileSync(`${modules}/axe-core/axe.min.js`, 'utf8');
const args = ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
  '--disable-background-networking', '--disable-component-update', '--disable-sync'];

const beyond = () => {
  document.querySelectorAll('details').forEach((one) => { one.open = true; });
  const width = document.documentElement.clientWidth;
  const outside = [...document.querySelectorAll('body *')].filter((one) => {
    const box = one.getBoundingClientRect();
    return box.width > 0 && !one.closest('.heard, .symbols, .skip, thead') && (box.right > width + 0.5 || box.left < -0.5);
  });
  return { overflow: document.documentElement.scrollWidth - width, outside: outside.length };
};

(async () => {
  const views = [];
  for (const bypassCSP of [false, true]) { // as it is, for what it does; then open to axe, which is a script
    for (const theme of ['light', 'dark']) {
      const context = await chromium.launchPersistentContext(`${profile}-${theme}-${bypassCSP}`,
        { executablePath, args, headless: true, colorScheme: theme, bypassCSP });
      const all = widths.split(',').map(Number);
      const seen = bypassCSP ? [all[0], all[all.length - 1]] : all; // rows are cards, or they are not
      for (const page of pages) {
        for (const width of seen) {
          const tab = await context.newPage();
          const view = { page, theme, width, axe: null, errors: [], requests: [] };
          await tab.setViewportSize({ width, height: 900 });
          tab.on('console', (one) => { if (['error', 'warning'].includes(one.type())) view.errors.push(one.text()); });
          tab.on('pageerror', (one) => view.errors.push(String(one)));
          tab.on('request', (one) => { if (one.url() !== `file://${page}`) view.requests.push(one.url()); });
          await tab.goto(`file://${page}`);
          Object.assign(view, await tab.evaluate(beyond));
          if (bypassCSP) {
            await tab.evaluate(axe);
            view.axe = await tab.evaluate(async () => (await window.axe.run()).violations
              .map((one) => ({ id: one.id, impact: one.impact, nodes: one.nodes.length })));
          }
          views.push(view);
          await tab.close();
        }
      }
      await context.close();
    }
  }
  process.stdout.write(JSON.stringify(views));
})().catch((error) => { process.stderr.write(`${error}\n`); process.exit(1); });
