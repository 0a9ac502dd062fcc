// Runs cases in the page's engine: node run.mjs <url of driver.html> <cases.json> <results.json>
//
// The page answers the event `portcullis-run` {id, cases} with `portcullis-result` {id, results}.
// Called by tests/src/browser.rs, which serves the page and sets CHROMIUM.

import { readFile, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';

/** Cases per event: small enough that no single answer takes long. */
const BATCH = 50;
const START_LIMIT = 60_000;
const BATCH_LIMIT = 120_000;

const [url, input, output] = process.argv.slice(2);
const cases = JSON.parse(await readFile(input, 'utf8'));
const { chromium } = loadPlaywright();
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM,
  args: [
    '--no-sandbox',
    '--disable-gpu',
    '--disable-quic',
    '--no-first-run',
    '--disable-background-networking',
    '--disable-component-update',
    '--disable-sync',
  ],
});
try {
  await writeFile(output, JSON.stringify(await runAll(await browser.newPage())));
} finally {
  await browser.close();
}

async function runAll(page) {
  const failures = watch(page);
  await page.goto(url, { waitUntil: 'load' });
  await started(page, failures);
  const results = [];
  for (let first = 0; first < cases.length; first += BATCH) {
    results.push(...(await send(page, first, cases.slice(first, first + BATCH), BATCH_LIMIT)));
  }
  if (failures.length > 0) throw new Error(failures.join('\n'));
  return results;
}

/** Collects what must not happen in the page. */
function watch(page) {
  const failures = [];
  const origin = new URL(url).origin;
  page.on('pageerror', (error) => failures.push(`exception in the page: ${error.message}`));
  page.on('console', (message) => {
    if (message.type() === 'error') failures.push(`error on the page's console: ${message.text()}`);
  });
  page.on('request', (request) => {
    if (!/^(data|blob):/.test(request.url()) && new URL(request.url()).origin !== origin) {
      failures.push(`a request left the page's origin: ${request.url()}`);
    }
  });
  return failures;
}

/** Sends an empty run until the page's script listens and its engine has started. */
async function started(page, failures) {
  const end = Date.now() + START_LIMIT;
  while (Date.now() < end && failures.length === 0) {
    const answer = await send(page, 'start', [], 500).catch(() => undefined);
    if (answer !== undefined) return;
  }
  throw new Error(['the page did not answer portcullis-run', ...failures].join('\n'));
}

function send(page, id, cases, limit) {
  return page.evaluate(
    ({ id, cases, limit }) =>
      new Promise((resolve, reject) => {
        const settle = (event) => {
          if (event.detail.id !== id) return;
          window.removeEventListener('portcullis-result', settle);
          clearTimeout(timer);
          resolve(event.detail.results);
        };
        const timer = setTimeout(() => {
          window.removeEventListener('portcullis-result', settle);
          reject(new Error(`no portcullis-result for ${id} within ${limit} ms`));
        }, limit);
        window.addEventListener('portcullis-result', settle);
        window.dispatchEvent(new CustomEvent('portcullis-run', { detail: { id, cases } }));
      }),
    { id, cases, limit },
  );
}

function loadPlaywright() {
  try {
    return createRequire(new URL('../../www/package.json', import.meta.url))('playwright-core');
  } catch {
    throw new Error('playwright-core is not installed in www/node_modules; run `cargo xtask setup`');
  }
}
