// One token of the request. None, Paste and Mint are apart: a pasted token is read for display and never altered.

import { html, nothing } from 'lit';
import type { TemplateResult } from 'lit';
import type { DirectiveResult } from 'lit/directive.js';
import { keyed } from 'lit/directives/keyed.js';

import { distanceText, timeText } from '../clock.js';
import type { Minted } from '../session.js';
import { decode, placeText } from '../tokens.js';
import type { Place, Token } from '../tokens.js';
import { choiceField, removeButton, segments, textArea, textField } from './fields.js';
import { prose } from './prose.js';

export interface TokenView {
  token: Token;
  /** Position among the tokens, and how many there are. */
  index: number;
  count: number;
  minted: Minted | undefined;
  keyNames: string[];
  /** Seconds since epoch at which the request is sent. */
  now: number;
  realTime: boolean;
  change(token: Token): void;
  remove(): void;
}

const modes = [
  { value: 'none', label: 'None' },
  { value: 'paste', label: 'Paste' },
  { value: 'mint', label: 'Mint' },
] as const;

const kinds = [
  { value: 'header', label: 'Header' },
  { value: 'param', label: 'Query parameter' },
  { value: 'cookie', label: 'Cookie' },
] as const;

/** For the closed section: `minted with rsa-1, header authorization`. */
export function tokenSummary(tokens: Token[]): string {
  const sent = tokens.filter((token) => token.mode !== 'none');
  const [only] = sent;
  if (!only) return 'none sent';
  if (sent.length > 1) return `${sent.length} tokens`;
  return only.mode === 'mint' ? `minted with ${only.key}` : `pasted, ${placeText(only.place)}`;
}

export function tokenView(view: TokenView): DirectiveResult {
  const { token, index, count } = view;
  // Keyed: radio buttons that change their group by renaming lose their state.
  return keyed(token.id, html`<div class="token" role="group" aria-label="Token ${index + 1} of ${count}">
    <div class="bar">
      ${segments(`Source of token ${index + 1}`, `token-mode-${token.id}`, token.mode, modes, (mode) =>
        view.change({ ...token, mode }),
      )}
      <span class="grow"></span>
      ${count > 1 ? removeButton(`Remove token ${index + 1}`, view.remove) : nothing}
    </div>
    ${body(view)}
  </div>`);
}

function body(view: TokenView): TemplateResult {
  switch (view.token.mode) {
    case 'none':
      return html`<p class="note">No token is sent. A request without a token passes authentication; a policy may still deny it.</p>`;
    case 'paste':
      return html`${paste(view)} ${placeFields(view)}`;
    case 'mint':
      return html`${mint(view)} ${placeFields(view)}`;
  }
}

function paste(view: TokenView): TemplateResult {
  const { token } = view;
  const text = token.pasted.trim();
  return html`${textArea('Token, sent exactly as it stands', token.pasted, 4, (pasted) => view.change({ ...token, pasted }), {
      placeholder: 'eyJhbGciOi…',
      name: 'pasted',
    })}
    ${text === '' ? nothing : decoded(view, text)}`;
}

function mint(view: TokenView): TemplateResult {
  const { token, minted, keyNames } = view;
  const keys = keyNames.length === 0 ? [token.key] : keyNames;
  const failed = minted?.result.ok === false;
  return html`<div class="row">
      ${choiceField('Signed with demo key', token.key, keys.map((value) => ({ value, label: value })), (key) =>
        view.change({ ...token, key }),
      )}
      ${token.kid === null
        ? textField('Key id (kid)', '', (kid) => view.change({ ...token, kid }), { placeholder: 'none' })
        : textField('Key id (kid)', token.kid, (kid) => view.change({ ...token, kid }), { placeholder: token.key })}
    </div>
    <div class="checks">
      <label
        ><input
          type="checkbox"
          .checked=${token.kid === null}
          @change=${() => view.change({ ...token, kid: token.kid === null ? '' : null })}
        />Leave out the key id</label
      >
    </div>
    ${textArea(
      'Claims (exp, nbf, iat may be "+1h")',
      token.claims,
      Math.min(12, Math.max(5, token.claims.split('\n').length)),
      (claims) => view.change({ ...token, claims }),
      { invalid: failed, name: 'claims' },
    )}
    ${mintedText(view)}`;
}

function mintedText(view: TokenView): TemplateResult {
  const { minted, token } = view;
  if (!minted) return html`<p class="note">Loading the minting module…</p>`;
  const { result } = minted;
  if (!result.ok) {
    return html`<p class="note error" role="alert">No token is sent. ${prose(result.error)}</p>`;
  }
  const { token: text } = result;
  return html`<div class="stack">
    <div class="bar">
      <span class="legend grow">Minted token</span>
      <button type="button" class="quiet" @click=${() => void copy(text)}>Copy</button>
      ${view.realTime
        ? html`<button type="button" class="quiet" @click=${() => view.change({ ...token, edition: token.edition + 1 })}>
            Mint again
          </button>`
        : nothing}
    </div>
    <pre class="token-text" tabindex="0" role="region" aria-label="Minted token">${text}</pre>
    ${decoded(view, text)}
  </div>`;
}

function decoded(view: TokenView, text: string): TemplateResult {
  const content = decode(text);
  if (!content.ok) return html`<p class="note error">Not readable as a token: ${content.error}. It is sent all the same.</p>`;
  return html`<details class="decoded-box">
      <summary class="note">Decoded, not verified</summary>
      <div class="decoded">
        <pre tabindex="0" role="region" aria-label="Token header">${content.header}</pre>
        <pre tabindex="0" role="region" aria-label="Token claims">${content.payload}</pre>
      </div>
    </details>
    ${content.times.length === 0
      ? nothing
      : html`<p class="note">
          ${content.times.map(
            ({ name, seconds }, at) =>
              html`${at === 0 ? '' : ' · '}<code>${name}</code> ${timeText(seconds)} (${distanceText(seconds, view.now)})`,
          )}
        </p>`}`;
}

function placeFields(view: TokenView): TemplateResult {
  const { token } = view;
  const { place } = token;
  const change = (next: Place): void => view.change({ ...token, place: next });
  const changeKind = (kind: Place['kind']): void => change(placeOf(kind));
  return html`<div class="place">
    ${choiceField('Sent in', place.kind, kinds, changeKind)}
    ${textField('Name', place.name, (name) => change({ ...place, name }))}
    ${place.kind === 'header' ? textField('Prefix', place.prefix, (prefix) => change({ ...place, prefix })) : nothing}
  </div>`;
}

function placeOf(kind: Place['kind']): Place {
  switch (kind) {
    case 'header':
      return { kind, name: 'authorization', prefix: 'Bearer ' };
    case 'param':
      return { kind, name: 'access_token' };
    case 'cookie':
      return { kind, name: 'session' };
  }
}

/** Without clipboard access (plain http) the text can still be selected by hand. */
async function copy(text: string): Promise<void> {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    return;
  }
}
