// The request pane: what the proxy receives, and where it stands.

import { html, nothing } from 'lit';
import type { TemplateResult } from 'lit';

import { baseTime, timeText } from '../clock.js';
import type { Clock } from '../clock.js';
import type { Header } from '../engine.js';
import type { Case, Peer, RequestForm } from '../model.js';
import type { Session } from '../session.js';
import { newToken } from '../tokens.js';
import { forwardedView, isForwarded, pemName, pemView } from './certificate.js';
import { addButton, removeButton, replaceAt, section, segments, textArea, textField, valueOf } from './fields.js';
import { gatewaySection } from './gateway.js';
import { surroundingsSections } from './surroundings.js';
import { tokenSummary, tokenView } from './token.js';

export interface RequestView {
  edited: Case;
  /** Undefined until the engine is there. */
  session: Session | undefined;
  change(patch: Partial<Case>): void;
}

const methods = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'];

const peerKinds = [
  { value: 'plaintext', label: 'Plain text' },
  { value: 'tls', label: 'TLS' },
  { value: 'certificate', label: 'Client certificate' },
] as const;

const certificateForms = [
  { value: 'names', label: 'By names' },
  { value: 'pem', label: 'PEM' },
] as const;

const clockModes = [
  { value: 'real', label: 'Real time' },
  { value: 'fixed', label: 'Fixed' },
] as const;

export function requestView(view: RequestView): TemplateResult {
  const { edited } = view;
  const { request, tokens, clock } = edited;
  return html`${requestLine(view)}
    ${section('token', tokens.length > 1 ? 'Tokens' : 'Token', tokenSummary(tokens), true, tokenBody(view))}
    ${section('headers', 'Headers', headerSummary(request.headers), false, headerBody(view))}
    ${section('peer', 'Client identity', peerSummary(view), false, peerBody(view))}
    ${gatewaySection(view)}
    ${section('connection', 'Connection', connectionSummary(request), false, connectionBody(view))}
    ${section('clock', 'Clock', clockSummary(clock), false, clockBody(view))} ${surroundingsSections(view)}`;
}

function requestLine({ edited, change }: RequestView): TemplateResult {
  const { request } = edited;
  const known = methods.includes(request.method) ? methods : [...methods, request.method];
  return html`<div class="request-line stack">
    <div class="first">
      <label class="field"
        ><span>Method</span
        ><select name="method" @change=${(event: Event) => change({ request: { ...request, method: valueOf(event) } })}>
          ${known.map((method) => html`<option ?selected=${method === request.method}>${method}</option>`)}
        </select></label
      >
      ${textField('Path', request.path, (path) => change({ request: { ...request, path } }), { name: 'path' })}
    </div>
    ${textField('Host', request.host, (host) => change({ request: { ...request, host } }), { name: 'host' })}
  </div>`;
}

function tokenBody({ edited, session, change }: RequestView): TemplateResult {
  const { tokens, clock } = edited;
  const failure = session?.outcome.mintFailure;
  return html`${failure === undefined
      ? nothing
      : html`<p class="note error" role="alert">The minting module could not be loaded: ${failure}</p>
          <div><button type="button" @click=${() => session?.retryMinter()}>Try again</button></div>`}
    ${tokens.map((token, index) =>
      tokenView({
        token,
        index,
        count: tokens.length,
        minted: session?.mintedFor(token),
        keyNames: session?.keyNames ?? [],
        now: session?.outcome.now ?? 0,
        realTime: clock.mode === 'real',
        change: (next) => change({ tokens: replaceAt(tokens, index, next) }),
        remove: () => change({ tokens: replaceAt(tokens, index, undefined) }),
      }),
    )}
    ${addButton('Another token', () => change({ tokens: [...tokens, newToken('mint')] }))}`;
}

function headerSummary(headers: Header[]): string {
  const named = headers.filter((header) => header.name !== '');
  return named.length === 0 ? 'none' : named.map((header) => header.name).join(', ');
}

function headerBody({ edited, session, change }: RequestView): TemplateResult {
  const { request } = edited;
  const setHeaders = (headers: Header[]): void => change({ request: { ...request, headers } });
  return html`${request.headers.map((header, index) => {
      const set = (field: keyof Header) => (event: Event) =>
        setHeaders(replaceAt(request.headers, index, { ...header, [field]: valueOf(event) }));
      return html`<div class="pair">
        <input
          class="mono"
          aria-label="Name of header ${index + 1}"
          placeholder="name"
          spellcheck="false"
          .value=${header.name}
          @input=${set('name')}
        />
        ${removeButton(`Remove header ${index + 1}`, () => setHeaders(replaceAt(request.headers, index, undefined)))}
        <input
          class="mono"
          aria-label="Value of header ${index + 1}"
          placeholder="value"
          spellcheck="false"
          .value=${header.value}
          @input=${set('value')}
        />
      </div>
      ${isForwarded(header) ? forwardedView(session, header.value) : nothing}`;
    })}
    ${addButton('Header', () => setHeaders([...request.headers, { name: '', value: '' }]))}`;
}

function peerSummary({ edited, session }: RequestView): string {
  const { kind, form, subject, uri, dns, pem } = edited.peer;
  switch (kind) {
    case 'plaintext':
      return 'none, plain text';
    case 'tls':
      return 'none, TLS';
    case 'certificate':
      if (form === 'pem') return pemName(session, pem) ?? 'unreadable certificate';
      return [uri, dns, subject].find((text) => text.trim() !== '')?.split('\n')[0] ?? 'certificate without names';
  }
}

function peerBody({ edited, session, change }: RequestView): TemplateResult {
  const { peer } = edited;
  const set = (patch: Partial<Peer>): void => change({ peer: { ...peer, ...patch } });
  return html`${segments('Connection of the client', 'peer', peer.kind, peerKinds, (kind) => set({ kind }))}
  ${peer.kind === 'certificate'
    ? html`${segments('Certificate of the client', 'certificate-form', peer.form, certificateForms, (form) => set({ form }))}
      ${peer.form === 'pem' ? certificatePem(session, peer, set) : certificateNames(peer, set)}`
    : html`<p class="note">
        ${peer.kind === 'tls' ? 'The client offers no certificate.' : 'No TLS, so no certificate and no peer principal.'}
      </p>`}`;
}

function certificatePem(session: Session | undefined, { pem }: Peer, set: (patch: Partial<Peer>) => void): TemplateResult {
  return html`${textArea('Certificate, PEM', pem, 5, (text) => set({ pem: text }), {
    placeholder: '-----BEGIN CERTIFICATE-----',
    name: 'pem',
    invalid: pem.trim() !== '' && pemName(session, pem) === undefined,
  })}
  ${pemView(session, pem)}`;
}

function certificateNames(peer: Peer, set: (patch: Partial<Peer>) => void): TemplateResult {
  return html`${textArea('URI SANs, one a line', peer.uri, 2, (uri) => set({ uri }), {
    placeholder: 'spiffe://cluster.local/ns/foo/sa/bar',
  })}
  ${textArea('DNS SANs, one a line', peer.dns, 2, (dns) => set({ dns }), { placeholder: 'client.example.com' })}
  ${textField('Subject, as Envoy prints it', peer.subject, (subject) => set({ subject }), {
    placeholder: 'CN=client.example.com,O=example',
  })}`;
}

function connectionSummary({ sourceIp, destinationIp, destinationPort }: RequestForm): string {
  return `${sourceIp} → ${destinationIp}:${destinationPort}`;
}

function connectionBody({ edited, change }: RequestView): TemplateResult {
  const { request } = edited;
  return html`<div class="row">
      ${textField('Source IP', request.sourceIp, (sourceIp) => change({ request: { ...request, sourceIp } }), { name: 'source-ip' })}
    </div>
    <div class="row">
      ${textField('Destination IP', request.destinationIp, (destinationIp) => change({ request: { ...request, destinationIp } }))}
      ${textField(
        'Destination port',
        request.destinationPort,
        (destinationPort) => change({ request: { ...request, destinationPort } }),
        { invalid: !/^\d{1,5}$/.test(request.destinationPort) },
      )}
    </div>`;
}

function clockSummary(clock: Clock): string {
  const time = clock.mode === 'real' ? 'real time' : clock.fixed;
  return clock.delay === 0 ? time : `${time}, sent after ${clock.delay} s`;
}

function clockBody({ edited, session, change }: RequestView): TemplateResult {
  const { clock } = edited;
  const set = (patch: Partial<Clock>): void => change({ clock: { ...clock, ...patch } });
  const invalid = baseTime(clock, 0) === undefined;
  const fix = (mode: Clock['mode']): void =>
    set(mode === 'fixed' && session ? { mode, fixed: timeText(session.outcome.now - clock.delay) } : { mode });
  return html`${segments('Clock', 'clock', clock.mode, clockModes, fix)}
    ${clock.mode === 'fixed'
      ? textField('Time, RFC 3339', clock.fixed, (fixed) => set({ fixed }), { invalid, name: 'fixed-time' })
      : nothing}
    ${invalid ? html`<p class="note error">Not a time, so real time is used.</p>` : nothing}
    ${textField('Seconds from minting to sending', String(clock.delay), (text) => set({ delay: Number.parseInt(text, 10) || 0 }))}
    <p class="note">The request is sent at ${timeText(session?.outcome.now ?? 0)}.</p>`;
}
