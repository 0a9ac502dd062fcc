// What follows from the verdict: the request as the upstream sees it, or the reply the proxy sends itself.

import { html, nothing } from 'lit';
import type { TemplateResult } from 'lit';

import type { Report } from '../engine.js';
import type { Session } from '../session.js';
import { forwardedView, isForwarded } from './certificate.js';
import { breakable } from './prose.js';

export function resultView(report: Report): TemplateResult | typeof nothing {
  switch (report.outcome) {
    case 'allow':
      return upstream(report);
    case 'cannot-decide':
      return nothing;
    case 'deny':
    case 'unauthenticated':
    case 'refused':
      return reply(report);
  }
}

/** The request that is decided: behind the gateway, and changed by the proxy as every request is. */
export function seenView(session: Session | undefined, { request }: Report): TemplateResult | typeof nothing {
  if (!request) return nothing;
  return html`<details class="seen">
    <summary>The request as the policies see it</summary>
    <dl class="edits">
      <dt>path</dt><dd><code>${request.path}</code></dd>
      ${request.headers.map(
        (header) => html`<dt>header</dt>
          <dd>
            <code>${header.name}: ${header.value}</code>
            ${isForwarded(header) ? forwardedView(session, header.value) : nothing}
          </dd>`,
      )}
    </dl>
  </details>`;
}

function upstream({ upstream: { path, remove, add } }: Report): TemplateResult {
  const unchanged = path === undefined && remove.length === 0 && add.length === 0;
  return html`<section class="result" aria-label="Changes upstream">
    <h3>What changes upstream</h3>
    ${unchanged
      ? html`<p class="note">Nothing: the request is forwarded as the policies see it.</p>`
      : html`<dl class="edits">
          ${path === undefined ? nothing : html`<dt>path</dt><dd><code>${path}</code></dd>`}
          ${remove.map((name) => html`<dt>removed</dt><dd><code>${name}</code></dd>`)}
          ${add.map(({ name, value }) => html`<dt>added</dt><dd><code>${name}: ${value}</code></dd>`)}
        </dl>`}
  </section>`;
}

function reply({ status, body, headers, details }: Report): TemplateResult {
  return html`<section class="result" aria-label="Reply">
    <h3>What the client gets</h3>
    <dl class="edits">
      <dt>status</dt><dd><code>${status}</code></dd>
      ${headers.map(({ name, value }) => html`<dt>header</dt><dd><code>${name}: ${value}</code></dd>`)}
      <dt>body</dt><dd><code>${body === '' ? '(empty)' : body}</code></dd>
      ${details === '' ? nothing : html`<dt title="Envoy's response code details">log details</dt><dd><code>${breakable(details, /(?=\{)/)}</code></dd>`}
    </dl>
    <p class="note">The upstream sees nothing of this request.</p>
  </section>`;
}
