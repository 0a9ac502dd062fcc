// Where the proxy stands: workload, mesh, and the key sets behind each `jwksUri`.

import { html, nothing } from 'lit';
import type { TemplateResult } from 'lit';

import type { Case, KeySet, Surroundings } from '../model.js';
import { addButton, choiceField, removeButton, replaceAt, section, segments, textArea, textField } from './fields.js';
import type { RequestView } from './request.js';

const proxies = [
  { value: 'sidecar', label: 'Sidecar' },
  { value: 'gateway', label: 'Gateway' },
] as const;

const pathNormalizations = [
  { value: 'NONE', label: 'NONE' },
  { value: 'BASE', label: 'BASE' },
  { value: 'MERGE_SLASHES', label: 'MERGE_SLASHES' },
  { value: 'DECODE_AND_MERGE_SLASHES', label: 'DECODE_AND_MERGE_SLASHES' },
] as const;

const ports = [
  { value: 'http', label: 'HTTP' },
  { value: 'tcp', label: 'Not declared as HTTP' },
] as const;

const tokenModes = [
  { value: 'envoy', label: 'As Envoy reads them' },
  { value: 'strict', label: 'Strictly, by the RFCs' },
] as const;

const enforcers = [
  { value: 'portcullis', label: 'Portcullis' },
  { value: 'istio', label: 'Istio itself' },
] as const;

const keySetKinds = [
  { value: 'demo', label: 'Demo keys' },
  { value: 'text', label: 'Own JWKS' },
] as const;

export function surroundingsSections(view: RequestView): TemplateResult {
  const { edited } = view;
  const { namespace, labels } = edited.surroundings;
  const summary = [namespace, ...labels.split('\n').filter((line) => line.trim() !== '')].join(', ');
  return html`${section('workload', 'Workload and mesh', summary, false, workload(view))}
  ${section('keys', 'Key sets', keySummary(edited.keySets), false, keySets(view))}`;
}

function workload({ edited, change }: RequestView): TemplateResult {
  const { surroundings } = edited;
  const set = (patch: Partial<Surroundings>): void => change({ surroundings: { ...surroundings, ...patch } });
  return html`${textField('Namespace', surroundings.namespace, (namespace) => set({ namespace }), { name: 'namespace' })}
    ${textArea('Labels, name=value, one a line', surroundings.labels, 2, (labels) => set({ labels }), { name: 'labels' })}
    <div class="row">
      ${choiceField('Proxy', surroundings.proxy, proxies, (proxy) => set({ proxy }))}
      ${surroundings.proxy === 'gateway'
        ? textField('Trusted proxies in front', surroundings.numTrustedProxies, (numTrustedProxies) => set({ numTrustedProxies }))
        : nothing}
    </div>
    ${choiceField('Port', surroundings.port, ports, (port) => set({ port }))}
    ${choiceField('Path normalization', surroundings.pathNormalization, pathNormalizations, (pathNormalization) =>
      set({ pathNormalization }),
    )}
    <div class="row">
      ${textField('Root namespace', surroundings.rootNamespace, (rootNamespace) => set({ rootNamespace }))}
      ${textField('Trust domain', surroundings.trustDomain, (trustDomain) => set({ trustDomain }))}
    </div>
    ${textArea('Trust domain aliases, one a line', surroundings.trustDomainAliases, 2, (trustDomainAliases) =>
      set({ trustDomainAliases }),
    )}
    <div class="checks">
      <label
        ><input
          type="checkbox"
          name="webhook"
          .checked=${surroundings.webhook}
          @change=${() => set({ webhook: !surroundings.webhook })}
        />istiod's webhook refuses invalid policies</label
      >
    </div>
    ${choiceField('Policies are enforced by', surroundings.enforcedBy, enforcers, (enforcedBy) => set({ enforcedBy }))}
    ${choiceField('Tokens and key sets are read', surroundings.tokens, tokenModes, (tokens) => set({ tokens }))}
    ${surroundings.tokens === 'strict'
      ? textField('Type (typ) of every token', surroundings.tokenType, (tokenType) => set({ tokenType }), {
          placeholder: 'any',
          name: 'token-type',
        })
      : nothing}`;
}

function keySummary(sets: KeySet[]): string {
  const [only] = sets;
  if (!only) return 'none';
  if (sets.length > 1) return `${sets.length} sets`;
  return only.kind === 'demo' ? only.names.join(', ') || 'no key' : 'own JWKS';
}

function keySets(view: RequestView): TemplateResult {
  const { edited, change } = view;
  const add = (uri: string): void => {
    change({ keySets: [...edited.keySets, { uri, kind: 'demo', names: ['rsa-1'], text: '' }] });
  };
  const missing = missingUris(edited);
  return html`<p class="note">Nothing is fetched: give the key set that each <code>jwksUri</code> would answer.</p>
    ${edited.keySets.map((set, index) => keySet(view, set, index))}
    ${missing.map((uri) => addButton(`Key set for ${uri}`, () => add(uri)))}
    ${missing.length === 0 ? addButton('Key set', () => add('https://issuer.example/jwks.json')) : nothing}`;
}

function keySet({ edited, session, change }: RequestView, set: KeySet, index: number): TemplateResult {
  const replace = (next: KeySet | undefined): void => change({ keySets: replaceAt(edited.keySets, index, next) });
  const names = session?.keyNames ?? [];
  const shown = names.length === 0 ? set.names : names;
  return html`<div class="token" role="group" aria-label="Key set ${index + 1}">
    ${textField('jwksUri', set.uri, (uri) => replace({ ...set, uri }))}
    <div class="bar">
      ${segments(`Keys of set ${index + 1}`, `key-set-${index}`, set.kind, keySetKinds, (kind) => replace({ ...set, kind }))}
      <span class="grow"></span>
      ${removeButton(`Remove key set ${index + 1}`, () => replace(undefined))}
    </div>
    ${set.kind === 'text'
      ? textArea('JWK Set, JSON', set.text, 6, (text) => replace({ ...set, text }), { placeholder: '{"keys": []}' })
      : html`<div class="checks">
          ${shown.map(
            (name) => html`<label
              ><input
                type="checkbox"
                .checked=${set.names.includes(name)}
                @change=${() => replace({ ...set, names: toggled(set.names, name) })}
              />${name}</label
            >`,
          )}
        </div>`}
  </div>`;
}

function toggled(names: string[], name: string): string[] {
  return names.includes(name) ? names.filter((each) => each !== name) : [...names, name];
}

/** A help for filling in, no more: what a `jwksUri` means is decided by the engine. */
function missingUris({ policies, keySets: sets }: Case): string[] {
  const uris = [...policies.matchAll(/^\s*(?:- )?jwksUri:\s*["']?([^\s"'#]+)/gm)].flatMap(([, uri]) => uri ?? []);
  return [...new Set(uris)].filter((uri) => !sets.some((set) => set.uri === uri));
}
