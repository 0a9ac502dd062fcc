// The ingress gateway to which requests go first, and what its `VirtualService` does to them.

import { html, nothing } from 'lit';
import type { TemplateResult } from 'lit';

import type { Diagnostic } from '../engine.js';
import type { Gateway } from '../model.js';
import { section, segments, textArea, textField } from './fields.js';
import { prose } from './prose.js';
import type { RequestView } from './request.js';

const kinds = [
  { value: 'none', label: 'None' },
  { value: 'ingress', label: 'Ingress gateway' },
] as const;

export function gatewaySection(view: RequestView): TemplateResult {
  const { kind, principal } = view.edited.gateway;
  return section('gateway', 'Gateway in front', kind === 'none' ? 'none' : principal, false, body(view));
}

function body({ edited, session, change }: RequestView): TemplateResult {
  const { gateway, peer } = edited;
  const set = (patch: Partial<Gateway>): void => change({ gateway: { ...gateway, ...patch } });
  const choice = segments('Gateway in front', 'gateway', gateway.kind, kinds, (kind) => set({ kind }));
  if (gateway.kind === 'none') return html`${choice}<p class="note">The client calls the workload's proxy itself.</p>`;
  const problems = session?.outcome.load?.gateway ?? [];
  return html`${choice}
    ${textField('Principal of the gateway', gateway.principal, (principal) => set({ principal }), { name: 'gateway-principal' })}
    ${textArea(
      'VirtualService, YAML; empty forwards everything',
      gateway.virtualService,
      8,
      (virtualService) => set({ virtualService }),
      { name: 'virtual-service', invalid: problems.length > 0 },
    )}
    ${problems.map(problem)}
    ${peer.kind === 'certificate' && peer.form === 'names'
      ? html`<p class="note">
          The gateway tells the workload nothing of a certificate that is given by names. Give it as PEM, in Client
          identity.
        </p>`
      : nothing}
    ${gateway.hasPolicies
      ? html`<p class="note">This example also has policies for the gateway. The page enforces the workload's only.</p>`
      : nothing}
    <p class="note">
      The client's connection ends at the gateway: the workload sees the gateway's certificate, which is made up here.
    </p>`;
}

function problem({ message, help, range }: Diagnostic): TemplateResult {
  return html`<p class="note error" role="alert">
    ${range ? `Line ${range.start.line}: ` : ''}${prose(message)}${help === undefined ? nothing : html`. ${prose(help)}`}
  </p>`;
}
