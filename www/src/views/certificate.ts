// What is in a client certificate, or in a header by which one proxy tells the next of some.

import { html, nothing } from 'lit';
import type { TemplateResult } from 'lit';

import type { Header } from '../engine.js';
import type { Session } from '../session.js';
import { prose } from './prose.js';

const labels: Record<string, string> = {
  subject: 'Subject',
  issuer: 'Issuer',
  uri: 'URI',
  dns: 'DNS',
  email: 'E-mail',
  sha256: 'SHA-256',
  serial: 'Serial number',
  notBefore: 'Valid from',
  notAfter: 'Valid until',
};

/** The name to show for the certificate of a PEM text; undefined when it cannot be read. */
export function pemName(session: Session | undefined, pem: string): string | undefined {
  const fields = session?.read(pem, false)?.certificates[0]?.fields;
  if (!fields) return undefined;
  const named = ['uri', 'dns', 'subject'].map((name) => fields.find((field) => field.name === name && field.value !== ''));
  return named.find((field) => field !== undefined)?.value ?? 'certificate without names';
}

/** What is in the certificate of a PEM text, or why it is none and what to do. */
export function pemView(session: Session | undefined, pem: string): TemplateResult | typeof nothing {
  const read = session?.read(pem, false);
  const [only] = read?.certificates ?? [];
  const doubt = read?.doubt ?? only?.doubt;
  if (!read) return nothing;
  if (pem.trim() === '') return html`<p class="note">Nothing is decided until a certificate is here.</p>`;
  if (doubt !== undefined) {
    return html`<p class="note error" role="alert">${prose(doubt)}. Nothing is decided until then.</p>`;
  }
  return html`${fieldList(only?.fields ?? [])}
    <p class="note">Taken as if the proxy trusted whoever signed it.</p>`;
}

/** What each element of an `x-forwarded-client-cert` tells, or why nothing of it is believed. */
export function forwardedView(session: Session | undefined, value: string): TemplateResult | typeof nothing {
  const read = value === '' ? undefined : session?.read(value, true);
  if (!read) return nothing;
  const { certificates, doubt } = read;
  if (doubt !== undefined) return html`<p class="note error">No policy believes this header: ${doubt}.</p>`;
  const count = certificates.length;
  return html`${certificates.map(({ fields, doubt: inDoubt }, index) => {
    const place = `Element ${index + 1} of ${count}`;
    return html`<div class="stack" role="group" aria-label=${place}>
      <p class="note">${place}${index === 0 ? ", which tells of the outermost proxy's client" : ''}</p>
      ${inDoubt === undefined ? fieldList(fields) : html`<p class="note error">In doubt: ${inDoubt}.</p>`}
    </div>`;
  })}`;
}

export function isForwarded({ name }: Header): boolean {
  return name.trim().toLowerCase() === 'x-forwarded-client-cert';
}

function fieldList(fields: Header[]): TemplateResult {
  return html`<dl class="edits">
    ${fields.map(
      ({ name, value }) => html`<dt>${labels[name] ?? name}</dt><dd><code>${value === '' ? '(empty)' : value}</code></dd>`,
    )}
  </dl>`;
}
