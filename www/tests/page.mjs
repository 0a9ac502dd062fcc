// The page in a real browser: `node tests/page.mjs http://127.0.0.1:8080/`. CHROMIUM names the browser.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { after, afterEach, before, test } from 'node:test';

import { chromium } from 'playwright-core';

const url = process.argv[2];
assert(url, 'usage: node tests/page.mjs <page url>');
const { origin } = new URL(url);
const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

const jwksUri = 'https://issuer.example/jwks.json';
const hostPolicy = (host) => `apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata:
  name: by-host
  namespace: istio-system
spec:
  rules:
  - to:
    - operation:
        hosts: ["${host}"]
`;
const tokenPolicy = `apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata:
  name: issuer
  namespace: istio-system
spec:
  jwtRules:
  - issuer: issuer-foo
    jwksUri: ${jwksUri}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata:
  name: alice
  namespace: istio-system
spec:
  rules:
  - from:
    - source:
        requestPrincipals: ["issuer-foo/alice"]
`;
const certificatePolicy = `apiVersion: portcullis.dev/v1alpha1
kind: CertificateAuthentication
metadata:
  name: clients
  namespace: istio-system
spec:
  certificateRules:
  - from:
      connection: {}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata:
  name: orders
  namespace: istio-system
spec:
  rules:
  - when:
    - key: request.auth.certificate.subject
      values: ["CN=orders.partner-a.example,O=Partner A"]
`;
const pem = (name) => readFileSync(new URL(`../../examples/certificates/${name}.pem`, import.meta.url), 'utf8');
const brokenPolicy = `${hostPolicy('example.com')}  rulez: []\n`;
const brokenLine = brokenPolicy.split('\n').findIndex((line) => line.includes('rulez')) + 1;

let browser;
let context;
/** Complaints of the browser in the running test; a test that expects some empties the list. */
let complaints = [];

before(async () => {
  browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    headless: true,
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
});

after(async () => {
  await browser?.close();
});

afterEach(async () => {
  await context?.close();
  context = undefined;
  const found = complaints;
  complaints = [];
  assert.deepEqual(found, [], 'the browser complains');
});

async function open(options = {}, { path = '', script, blocked = false } = {}) {
  context = await browser.newContext({ viewport: { width: 1280, height: 800 }, ...options });
  const page = await context.newPage();
  page.on('console', (message) => {
    if (['error', 'warning'].includes(message.type())) complaints.push(message.text());
  });
  page.on('pageerror', (error) => complaints.push(String(error)));
  await page.addInitScript(() => {
    globalThis.seen = { ready: undefined, decided: 0, shift: 0 };
    document.addEventListener('portcullis-ready', () => (globalThis.seen.ready ??= performance.now()));
    document.addEventListener('portcullis-decision', () => (globalThis.seen.decided = performance.now()));
    new PerformanceObserver((list) => {
      for (const entry of list.getEntries()) if (!entry.hadRecentInput) globalThis.seen.shift += entry.value;
    }).observe({ type: 'layout-shift', buffered: true });
  });
  if (script) await page.addInitScript(script);
  if (blocked) {
    await page.route(url, async (route) => {
      const response = await route.fetch();
      await route.fulfill({ response, body: (await response.text()).replace(" 'wasm-unsafe-eval'", '') });
    });
  }
  await page.goto(new URL(path, url).href);
  return page;
}

async function openReady(options, more) {
  const page = await open(options, more);
  await page.locator('portcullis-playground[ready]').waitFor({ timeout: 10_000 });
  await page.waitForLoadState('networkidle');
  return page;
}

async function until(condition, what) {
  const deadline = Date.now() + 5000;
  for (;;) {
    if (await condition()) return;
    if (Date.now() > deadline) assert.fail(typeof what === 'function' ? await what() : what);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

const answer = (page) => page.locator('.verdict .answer').innerText();
const verdictText = (page) => page.locator('.verdict').innerText();

async function expectAnswer(page, status) {
  await until(
    async () => (await answer(page)).startsWith(`${status} `),
    async () => `expected ${status}, got: ${await verdictText(page)}`,
  );
}

async function setPolicies(page, text) {
  await page.locator('.cm-content').focus();
  await page.keyboard.press('Control+a');
  await page.keyboard.insertText(text);
}

async function openSection(page, id) {
  const section = page.locator(`#section-${id}`);
  if (!(await section.evaluate((element) => element.open))) await section.locator('> summary').click();
  return section;
}

async function readyForTokens(page) {
  await setPolicies(page, tokenPolicy);
  await page.locator('[name=host]').fill('example.com');
  const keys = await openSection(page, 'keys');
  await keys.getByRole('button', { name: `Key set for ${jwksUri}` }).click();
  return page.locator('#section-token');
}

test('every request of every example gets the status it expects', async () => {
  const page = await openReady();
  const presets = await page.locator('[name=preset] option').evaluateAll((options) => options.map((each) => each.value));
  const folders = new Set(presets.map((id) => id.split('/')[0]));
  assert.deepEqual([...folders].sort(), [
    'istio-jwt-ingress',
    'kyma-client-certificate',
    'kyma-istio-jwt',
    'partner-certificates',
  ]);
  for (const preset of presets) {
    await page.locator('[name=preset]').selectOption(preset);
    const requests = await page.locator('[name=request] option').allInnerTexts();
    assert(requests.length > 0, `${preset} has no request`);
    for (const [index, label] of requests.entries()) {
      await page.locator('[name=request]').selectOption(String(index));
      const status = /\((\d+)\)$/.exec(label)?.[1];
      const chosen = await page
        .locator('#section-token .token')
        .evaluateAll((tokens) => tokens.map((each) => each.querySelectorAll('.bar input:checked').length));
      assert(chosen.every((count) => count === 1), `${preset}, ${label}: a token without a mode`);
      await until(
        async () => (await answer(page)).startsWith(`${status} `) && (await page.locator('.verdict .chip.good').count()) === 1,
        async () => `${preset}, ${label}: ${await verdictText(page)}`,
      );
    }
  }
});

test('opens on a denied request with the nearest miss marked in the editor', async () => {
  const page = await openReady();
  await expectAnswer(page, 403);
  const line = /line (\d+)/.exec(await verdictText(page))?.[1];
  assert(line, 'the verdict names no line');
  const marked = page.locator('.cm-decided-deny').first();
  await marked.waitFor();
  const inside = await marked.evaluate((element) => {
    const box = element.getBoundingClientRect();
    const frame = element.closest('.cm-scroller').getBoundingClientRect();
    return box.top >= frame.top && box.bottom <= frame.bottom;
  });
  assert(inside, 'the marked line is out of view');
  const failed = page.locator('[data-step=allow] .condition.missing');
  assert((await failed.count()) > 0, 'the trace shows no failed condition');
});

test('an error is shown at its line and the last valid verdict stays', async () => {
  const page = await openReady();
  await setPolicies(page, hostPolicy('example.com'));
  await page.locator('[name=host]').fill('example.com');
  await expectAnswer(page, 200);
  await setPolicies(page, brokenPolicy);
  const problem = page.locator('.problem', { has: page.locator('.error-tone') }).first();
  await problem.waitFor();
  assert.match(await problem.innerText(), new RegExp(`line ${brokenLine}\\b`));
  const squiggled = page.locator('.cm-line', { has: page.locator('.cm-problem-error') });
  await until(async () => (await squiggled.allInnerTexts()).join().includes('rulez'), 'no squiggle under rulez');
  assert.match(await verdictText(page), /From your last valid policy/);
  assert.match(await answer(page), /^200 /);
});

test('F8 goes to the problem, Escape leaves the editor', async () => {
  const page = await openReady();
  await setPolicies(page, brokenPolicy);
  await page.locator('.problem').first().waitFor();
  await page.locator('[name=path]').focus();
  await page.keyboard.press('F8');
  await until(async () => (await page.locator('.cm-activeLine').innerText()).includes('rulez'), 'F8 did not move');
  await page.keyboard.press('ArrowRight');
  await page.keyboard.press('Escape');
  await until(
    () => page.evaluate(() => document.querySelector('portcullis-playground').shadowRoot.activeElement?.id === 'next-problem'),
    'focus is not in the toolbar',
  );
});

test('fixing the policy flips the verdict', async () => {
  const page = await openReady();
  await page.locator('[name=host]').fill('example.com');
  await setPolicies(page, hostPolicy('other.example'));
  await expectAnswer(page, 403);
  await setPolicies(page, hostPolicy('example.com'));
  await expectAnswer(page, 200);
  assert.match(await page.locator('.result').innerText(), /upstream/i);
});

test('a keystroke reaches the verdict within 50 ms', async () => {
  const page = await openReady();
  await page.locator('[name=host]').fill('example.com');
  await setPolicies(page, hostPolicy('example.com'));
  await expectAnswer(page, 200);
  await page.evaluate(() => {
    globalThis.keys = [];
    const host = document.querySelector('portcullis-playground');
    addEventListener('beforeinput', () => (globalThis.pressed = performance.now()), { capture: true });
    const record = () => globalThis.keys.push(performance.now() - globalThis.pressed);
    addEventListener('input', () => void host.updateComplete.then(record));
  });
  await page.locator('[name=host]').focus();
  for (const key of 'abcdefghijklmnopqrst') await page.keyboard.press(key);
  await expectAnswer(page, 403);
  const times = await page.evaluate(() => globalThis.keys.toSorted((a, b) => a - b));
  assert(times.length >= 20, `${times.length} keystrokes seen`);
  const p95 = times[Math.floor(times.length * 0.95)];
  console.log(`keystroke to verdict: median ${times[times.length >> 1].toFixed(1)} ms, p95 ${p95.toFixed(1)} ms`);
  assert(p95 <= 50, `p95 is ${p95} ms`);
});

test('a token minted from claims is accepted, and judged by its claims', async () => {
  const page = await openReady();
  const token = await readyForTokens(page);
  await token.getByText('Mint', { exact: true }).click();
  await token.locator('[name=claims]').fill('{"iss": "issuer-foo", "sub": "alice", "exp": "+1h"}');
  await expectAnswer(page, 200);
  await token.locator('[name=claims]').fill('{"iss": "issuer-foo", "sub": "bob", "exp": "+1h"}');
  await expectAnswer(page, 403);
  await token.locator('[name=claims]').fill('{"iss": "issuer-foo", "sub": "alice", "exp": "-2h"}');
  await expectAnswer(page, 401);
  await token.locator('[name=claims]').fill('{"iss": ');
  await token.locator('.note.error').waitFor();
});

test('a pasted token is sent as it stands', async () => {
  const page = await openReady();
  const token = await readyForTokens(page);
  await token.getByText('Mint', { exact: true }).click();
  await token.locator('[name=claims]').fill('{"iss": "issuer-foo", "sub": "alice", "exp": "+1h"}');
  await expectAnswer(page, 200);
  const minted = await token.locator('.token-text').innerText();
  await token.getByText('Paste', { exact: true }).click();
  assert.equal(await token.locator('input[type=radio]:checked').inputValue(), 'paste');
  await token.locator('[name=pasted]').fill(minted);
  await expectAnswer(page, 200);
  assert.equal(await token.locator('[name=pasted]').inputValue(), minted);
  await token.getByText('Decoded, not verified').click();
  assert.match(await token.locator('.decoded').innerText(), /alice/);
  const [header, payload] = minted.split('.');
  await token.locator('[name=pasted]').fill(`${header}.${payload}.AAAA`);
  await expectAnswer(page, 401);
  await token.getByText('None', { exact: true }).click();
  await expectAnswer(page, 403);
});

test('strict mode refuses what Envoy lets through', async () => {
  const page = await openReady();
  const token = await readyForTokens(page);
  await token.getByText('Mint', { exact: true }).click();
  await token.locator('[name=claims]').fill('{"iss": "issuer-foo", "sub": "alice"}');
  await expectAnswer(page, 200);
  await page.locator('#section-workload > summary').click();
  await page.getByLabel('Tokens and key sets are read').selectOption('strict');
  await expectAnswer(page, 401);
  await token.locator('[name=claims]').fill('{"iss": "issuer-foo", "sub": "alice", "exp": "+1h"}');
  await expectAnswer(page, 200);
  await page.locator('[name=token-type]').fill('at+jwt');
  await expectAnswer(page, 401);
});

test('the port and the webhook take part', async () => {
  const page = await openReady();
  await page.locator('[name=host]').fill('example.com');
  await setPolicies(page, hostPolicy('example.com'));
  await expectAnswer(page, 200);
  await page.locator('#section-workload > summary').click();
  const port = page.locator('select', { has: page.locator('option[value=tcp]') });
  await port.selectOption('tcp');
  await until(async () => /0|closed/i.test(await answer(page)), async () => `not closed: ${await answer(page)}`);
  await port.selectOption('http');
  await setPolicies(page, hostPolicy('example.com').replace('hosts: ["example.com"]', 'ports: ["http"]'));
  await page.locator('.problem', { has: page.locator('.error-tone') }).first().waitFor();
  await page.locator('[name=webhook]').click();
  await expectAnswer(page, 403);
});

async function readyForPem(page) {
  await openSection(page, 'peer');
  await page.locator('#section-peer').getByText('Client certificate', { exact: true }).click();
  await page.locator('#section-peer').getByText('PEM', { exact: true }).click();
  return page.locator('[name=pem]');
}

test('TLS without a certificate is no mutual TLS, and names alone are an identity', async () => {
  const page = await openReady();
  await setPolicies(page, `apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: strict, namespace: istio-system}
spec: {mtls: {mode: STRICT}}
---
apiVersion: portcullis.dev/v1alpha1
kind: CertificateAuthentication
metadata: {name: clients, namespace: istio-system}
spec: {certificateRules: [{from: {connection: {}}}]}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: not-b, namespace: istio-system}
spec:
  action: DENY
  rules: [{when: [{key: request.auth.certificate.dns, values: [b.example]}]}]
`);
  await page.locator('#section-peer > summary').click();
  const peer = page.locator('#section-peer');
  await peer.getByText('TLS', { exact: true }).click();
  await expectAnswer(page, 403);
  assert.match(await verdictText(page), /TLS without a client certificate/);
  await peer.getByText('Client certificate', { exact: true }).click();
  await peer.getByText('By names', { exact: true }).click();
  await peer.getByLabel(/^DNS SANs/).fill('a.example');
  await expectAnswer(page, 200);
  await peer.getByLabel(/^DNS SANs/).fill('b.example');
  await expectAnswer(page, 403);
});

test('a pasted certificate is shown and decides by its names', async () => {
  const page = await openReady();
  await setPolicies(page, certificatePolicy);
  const field = await readyForPem(page);
  await until(async () => /paste one in PEM form/.test(await verdictText(page)), () => verdictText(page));
  await field.fill(pem('partner-a-orders'));
  await expectAnswer(page, 200);
  const peer = page.locator('#section-peer');
  const shown = await peer.locator('dl').innerText();
  for (const part of [
    'CN=orders.partner-a.example,O=Partner A',
    'CN=Partner A CA,O=Partner A',
    'urn:partner-a:orders',
    'orders.partner-a.example',
    'orders@partner-a.example',
    '171e0601289a2d0621c7a29cc3589e041ce585cd4cf818020f098da7ca1e0c52',
    'Serial number',
    '2100-01-01T00:00:00Z',
  ]) {
    assert(shown.includes(part), `${part} is not in ${shown}`);
  }
  assert.match(await peer.locator('summary .value').innerText(), /urn:partner-a:orders/);
  assert.match(await page.locator('[data-step=certificate]').innerText(), /the connection/);
  await field.fill(pem('partner-b-orders'));
  await expectAnswer(page, 403);
});

test('what is no certificate is told, and nothing is decided without it', async () => {
  const page = await openReady();
  await setPolicies(page, certificatePolicy);
  const field = await readyForPem(page);
  const problem = page.locator('#section-peer [role=alert]');
  for (const [text, told] of [
    [pem('partner-a-orders').slice(30), /BEGIN CERTIFICATE/],
    [pem('partner-a-orders') + pem('partner-a-ca'), /rest of its chain/],
    ['-----BEGIN PRIVATE KEY-----', /private key/],
  ]) {
    await field.fill(text);
    await until(async () => told.test(await problem.innerText()), () => problem.innerText());
    await until(async () => /^Cannot decide/.test(await answer(page)), () => verdictText(page));
    assert.equal(await field.getAttribute('aria-invalid'), 'true');
  }
  await field.fill(pem('partner-a-orders'));
  await expectAnswer(page, 200);
  assert.equal(await problem.count(), 0);
});

test('what x-forwarded-client-cert tells is shown for each element', async () => {
  const page = await openReady();
  await openSection(page, 'headers');
  await page.getByRole('button', { name: 'Header', exact: true }).click();
  const headers = page.locator('#section-headers');
  await headers.getByLabel(/^Name of header/).last().fill('X-Forwarded-Client-Cert');
  const value = headers.getByLabel(/^Value of header/).last();
  const hash = '171e0601289a2d0621c7a29cc3589e041ce585cd4cf818020f098da7ca1e0c52';
  const first = headers.getByRole('group', { name: 'Element 1 of 2' });
  await value.fill(`Hash=${hash};Subject="CN=a,O=b";URI=urn:a,Hash=${hash};Subject="";URI=spiffe://td/gateway`);
  await first.waitFor();
  assert.match(await first.innerText(), /outermost[^]*CN=a,O=b[^]*urn:a[^]*171e/);
  assert.match(await headers.getByRole('group', { name: 'Element 2 of 2' }).innerText(), /spiffe:\/\/td\/gateway/);
  await value.fill(`[{"hash":"${hash}","uri":["urn:json"]},{"hash":"${hash}","subject":"a"}]`);
  await until(async () => /urn:json/.test(await first.innerText()), 'the JSON form is not read');
  assert.match(await headers.getByRole('group', { name: 'Element 2 of 2' }).innerText(), /In doubt: a distinguished name/);
  await value.fill(`Hash=${hash},Hash=00`);
  await headers.getByText(/No policy believes this header: .*SHA-256/).waitFor();
  await value.fill(`Hash=${hash};Subject="CN=a`);
  await headers.getByText(/No policy believes this header/).waitFor();
});

test('a gateway writes the headers of its VirtualService from the certificate', async () => {
  const page = await openReady();
  await page.locator('[name=preset]').selectOption('kyma-client-certificate/scenarios-through-the-gateway');
  await expectAnswer(page, 200);
  await page.getByText('The request as the policies see it').click();
  const seen = page.locator('.seen');
  assert.match(await seen.innerText(), /x-client-ssl-cn: O=example,CN=client2\.example\.com/);
  assert.match(await seen.getByRole('group', { name: 'Element 2 of 2' }).innerText(), /istio-ingressgateway-service-account/);
  await openSection(page, 'gateway');
  const service = page.locator('[name=virtual-service]');
  const text = await service.inputValue();
  await service.fill(text.replace('%DOWNSTREAM_PEER_SUBJECT%', 'nobody'));
  await expectAnswer(page, 403);
  assert.match(await seen.innerText(), /x-client-ssl-cn: nobody/);
  await service.fill(text.replace('http:', 'htp:'));
  await page.locator('#section-gateway [role=alert]').first().waitFor();
  await page.getByText('error in the VirtualService').waitFor();
  await service.fill('');
  await until(async () => !/x-client-ssl-cn/.test(await seen.innerText()), 'a header without a VirtualService');
  await page.locator('#section-gateway').getByText('None', { exact: true }).click();
  await until(async () => !/Element 2/.test(await seen.textContent()), 'the gateway is still there');
});

test('the trace says from which element a policy took the certificate', async () => {
  const page = await openReady();
  await page.locator('[name=preset]').selectOption('partner-certificates/scenarios');
  await expectAnswer(page, 200);
  const step = page.locator('[data-step=certificate]');
  if ((await step.getAttribute('aria-expanded')) === 'false') await step.locator('.line').first().click();
  await until(
    async () => /x-forwarded-client-cert, the first of 2 elements[^]*Accepted: urn:partner-a:orders/.test(await step.innerText()),
    () => step.innerText(),
  );
  assert.equal(await page.locator('[name=pem]').inputValue(), pem('partner-a-orders'));
});

test('Istio itself knows nothing of what Portcullis adds', async () => {
  const page = await openReady();
  await setPolicies(page, certificatePolicy);
  await openSection(page, 'workload');
  const problems = page.locator('.problem', { hasText: 'request.auth.certificate' });
  assert.equal(await problems.count(), 0);
  await page.getByLabel('Policies are enforced by').selectOption('istio');
  await problems.first().waitFor();
});

test('several tokens travel together', async () => {
  const page = await openReady();
  const token = await readyForTokens(page);
  await token.getByText('Mint', { exact: true }).click();
  await token.locator('[name=claims]').fill('{"iss": "issuer-foo", "sub": "alice", "exp": "+1h"}');
  await expectAnswer(page, 200);
  await page.getByRole('button', { name: 'Another token' }).click();
  assert.equal(await page.getByRole('group', { name: /^Token \d of 2/ }).count(), 2);
  await page.getByRole('button', { name: 'Remove token 2' }).click();
  await expectAnswer(page, 200);
});

test('loads from its own origin only, and nothing after loading', async () => {
  const requests = [];
  const page = await open();
  page.on('request', (request) => requests.push(request.url()));
  await page.reload();
  await page.locator('portcullis-playground[ready]').waitFor();
  await page.waitForLoadState('networkidle');
  assert.deepEqual(requests.filter((each) => !each.startsWith(`${origin}/`) && !each.startsWith('data:')), []);
  const loaded = requests.length;
  const token = await readyForTokens(page);
  await token.getByText('Mint', { exact: true }).click();
  await expectAnswer(page, 200);
  await page.getByRole('button', { name: 'Reset to the example' }).click();
  await expectAnswer(page, 403);
  await page.waitForTimeout(1500);
  assert.deepEqual(requests.slice(loaded).filter((each) => !/portcullis_mint/.test(each) && !each.startsWith('data:')), []);
});

test('decides without a network', async () => {
  const page = await openReady();
  await context.setOffline(true);
  const token = await readyForTokens(page);
  await token.getByText('Mint', { exact: true }).click();
  await token.locator('[name=claims]').fill('{"iss": "issuer-foo", "sub": "alice", "exp": "+1h"}');
  await expectAnswer(page, 200);
  await setPolicies(page, hostPolicy('other.example'));
  await expectAnswer(page, 403);
});

test('a trap of the engine keeps the text and the last good result, then recovers', async () => {
  const page = await openReady({}, {
    script: () => {
      const { instantiateStreaming } = WebAssembly;
      WebAssembly.instantiateStreaming = async (...args) => {
        const started = await instantiateStreaming(...args);
        if (started.instance.exports.engine_load) globalThis.memory ??= started.instance.exports.memory;
        return started;
      };
    },
  });
  await page.locator('[name=host]').fill('example.com');
  await setPolicies(page, hostPolicy('example.com'));
  await expectAnswer(page, 200);
  await page.locator('[name=host]').evaluate((input) => {
    new Uint8Array(globalThis.memory.buffer).fill(0xff);
    input.value = 'other.example';
    input.dispatchEvent(new Event('input', { bubbles: true }));
  });
  await until(async () => /The engine stopped on this input\. Your text is safe\./.test(await verdictText(page)), 'no notice');
  assert.match(await answer(page), /^200 /);
  assert.equal(await page.locator('[name=host]').inputValue(), 'other.example');
  await page.locator('[name=host]').fill('third.example');
  await expectAnswer(page, 403);
});

test('a security policy that blocks WebAssembly is named', async () => {
  const page = await open({}, { blocked: true });
  await until(async () => (await page.locator('.verdict').count()) === 1, 'no verdict bar');
  assert.match(await verdictText(page), /security policy blocks WebAssembly.*'wasm-unsafe-eval'/);
  complaints = [];
});

test('the trace is walked by arrow keys', async () => {
  const page = await openReady();
  const focused = () =>
    page.evaluate(() => document.querySelector('portcullis-playground').shadowRoot.activeElement?.dataset.key);
  await page.locator('[role=treeitem][tabindex="0"]').focus();
  const first = await focused();
  await page.keyboard.press('ArrowDown');
  await until(async () => (await focused()) !== first, 'ArrowDown does not move');
  await page.keyboard.press('Home');
  await until(async () => (await focused()) === first, 'Home does not return');
  assert.equal(await page.locator('[role=treeitem][tabindex="0"]').count(), 1);
});

test('the verdict is announced when it changes', async () => {
  const page = await openReady();
  const live = page.locator('.hidden[aria-live=polite]');
  await until(async () => /^403 Denied\./.test(await live.textContent()), 'the first verdict is not announced');
  await page.locator('[name=host]').fill('example.com');
  await setPolicies(page, hostPolicy('example.com'));
  await until(async () => /^200 Allowed\./.test(await live.textContent()), 'the change is not announced');
});

test('the theme is chosen and remembered', async () => {
  const page = await openReady({ colorScheme: 'light' });
  await page.getByRole('button', { name: 'Switch to dark theme' }).click();
  assert.equal(await page.locator('portcullis-playground').getAttribute('theme'), 'dark');
  await page.reload();
  await page.getByRole('button', { name: 'Switch to light theme' }).waitFor();
});

test('nothing moves while the page loads or the verdict changes', async () => {
  const page = await openReady();
  await page.waitForTimeout(500);
  const { shift } = await page.evaluate(() => globalThis.seen);
  assert(shift < 0.001, `layout shift ${shift}`);
  const boxes = () =>
    page.locator('header, .verdict, .pane, #editor, .findings, footer').evaluateAll((elements) =>
      elements.map((element) => {
        const { x, y, width, height } = element.getBoundingClientRect();
        return [element.id || element.localName, x, y, width, height];
      }),
    );
  const atFirst = await boxes();
  await page.locator('[name=host]').fill('example.com');
  await setPolicies(page, hostPolicy('example.com'));
  await expectAnswer(page, 200);
  assert.deepEqual(await boxes(), atFirst);
  await setPolicies(page, brokenPolicy);
  await page.locator('.problem').first().waitFor();
  assert.deepEqual(await boxes(), atFirst);
});

test('interactive within a second', async () => {
  const times = [];
  for (let run = 0; run < 3; run += 1) {
    const page = await openReady();
    times.push(await page.evaluate(() => globalThis.seen.ready));
    await context.close();
  }
  times.sort((a, b) => a - b);
  console.log(`interactive after ${times.map((each) => each.toFixed(0)).join(', ')} ms`);
  assert(times[1] < 1000, `median ${times[1]} ms`);
});

test('the driver page runs cases through the same engine', async () => {
  const page = await open({}, { path: 'driver.html' });
  const answered = await page.evaluate(
    ({ policies }) =>
      new Promise((resolve) => {
        addEventListener('portcullis-result', (event) => resolve(event.detail));
        const request = (authority) => ({ method: 'GET', authority, path: '/', headers: [], now: 1767225600 });
        const cases = [{ setting: { policies }, requests: [request('example.com'), request('other.example')] }];
        const send = () => dispatchEvent(new CustomEvent('portcullis-run', { detail: { id: 7, cases } }));
        if (document.readyState === 'complete') send();
        else addEventListener('load', send);
      }),
    { policies: hostPolicy('example.com') },
  );
  assert.equal(answered.id, 7);
  assert.equal(answered.results[0].load.ok, true);
  assert.deepEqual(answered.results[0].reports.map((each) => each.status), [200, 403]);
});

test('a low window scrolls as a page and opens at its top', async () => {
  const page = await openReady({ viewport: { width: 720, height: 450 } });
  const { top, beyond } = await page.evaluate(() => ({
    top: document.documentElement.scrollTop,
    beyond: document.documentElement.scrollHeight > innerHeight,
  }));
  assert.equal(top, 0);
  assert(beyond);
});

for (const colorScheme of ['light', 'dark']) {
  for (const [name, viewport] of [['desktop', { width: 1280, height: 800 }], ['phone', { width: 390, height: 844 }]]) {
    test(`axe finds nothing, ${name}, ${colorScheme}`, async () => {
      const phone = name === 'phone';
      const page = await openReady({ colorScheme, viewport, hasTouch: phone, isMobile: phone });
      await page.evaluate(axe);
      const check = async (state) => {
        const { violations } = await page.evaluate(() =>
          globalThis.axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] }),
        );
        const found = violations.flatMap(({ id, nodes }) =>
          nodes.map(({ target, failureSummary }) => `${id} ${target.flat().join(' ')}: ${failureSummary}`),
        );
        assert.deepEqual(found, [], state);
      };
      await check('opening');
      if (phone) {
        for (const pane of ['Request', 'Why']) {
          await page.getByRole('tab', { name: pane }).click();
          await check(pane);
        }
        await page.getByRole('tab', { name: 'Request' }).click();
      }
      for (const section of ['headers', 'peer', 'gateway', 'connection', 'clock', 'workload', 'keys']) await openSection(page, section);
      await page.getByText('Client certificate', { exact: true }).click();
      await page.getByRole('button', { name: 'Header', exact: true }).click();
      await page.getByText('Ingress gateway', { exact: true }).click();
      await check('all sections open');
      await page.locator('#section-peer').getByText('PEM', { exact: true }).click();
      await page.locator('[name=pem]').fill(pem('partner-a-orders'));
      await page.locator('[name=virtual-service]').fill('kind: Service');
      await page.getByLabel(/^Name of header/).last().fill('x-forwarded-client-cert');
      await page.getByLabel(/^Value of header/).last().fill('Hash=171e0601289a2d0621c7a29cc3589e041ce585cd4cf818020f098da7ca1e0c52');
      await check('with a certificate and a gateway');
      await page.locator('[name=virtual-service]').fill('');
      if (phone) await page.getByRole('tab', { name: 'Policy' }).click();
      await setPolicies(page, brokenPolicy);
      await check('with a problem');
      await setPolicies(page, hostPolicy('example.com'));
      await page.getByRole('tab', { name: /^Policies/ }).click();
      await check('allowed or denied by another policy');
      assert.equal(await page.evaluate(() => document.documentElement.scrollWidth), viewport.width, 'scrolls sideways');
    });
  }
}

test('axe finds nothing in forced colours, and nothing overflows at 320 px', async () => {
  const page = await openReady({ forcedColors: 'active', viewport: { width: 320, height: 700 } });
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => globalThis.axe.run(document));
  assert.deepEqual(violations.map(({ id }) => id), []);
  assert.equal(await page.evaluate(() => document.documentElement.scrollWidth), 320);
});
