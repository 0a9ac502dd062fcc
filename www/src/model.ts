// What the reader edits, and how it becomes the engine's input.

import { realClock, timeText } from './clock.js';
import type { Clock } from './clock.js';
import type { Certificate, Header, Proxy, RequestInput, ScenarioFile, ScenarioRequest, Setting } from './engine.js';
import { placeTokens, tokenFromSpec, newToken } from './tokens.js';
import type { Place, Token } from './tokens.js';

/** The key set behind one `jwksUri`: demo keys by name, or a JWK Set as text. */
export interface KeySet {
  uri: string;
  kind: 'demo' | 'text';
  names: string[];
  text: string;
}

export interface Peer {
  kind: 'plaintext' | 'tls' | 'certificate';
  /** Which of the texts below tells of the certificate. */
  form: 'names' | 'pem';
  /** One SAN a line. */
  uri: string;
  dns: string;
  /** As Envoy prints it, such as `CN=a.example,O=example`. */
  subject: string;
  pem: string;
}

/** What requests go through before they reach the workload's proxy. */
export interface Gateway {
  kind: 'none' | 'ingress';
  principal: string;
  /** YAML; empty sends every request on as it is. */
  virtualService: string;
  /** Whether the example has policies for it, which the page does not enforce. */
  hasPolicies: boolean;
}

export interface RequestForm {
  method: string;
  host: string;
  path: string;
  headers: Header[];
  sourceIp: string;
  destinationIp: string;
  destinationPort: string;
}

/** Istio's names, as the engine takes them. */
export type PathNormalization = NonNullable<Proxy['pathNormalization']>;

export interface Surroundings {
  namespace: string;
  /** One `name=value` a line. */
  labels: string;
  proxy: 'sidecar' | 'gateway';
  numTrustedProxies: string;
  pathNormalization: PathNormalization;
  rootNamespace: string;
  trustDomain: string;
  /** One a line. */
  trustDomainAliases: string;
  /** Whether istiod's validating webhook guards the cluster. */
  webhook: boolean;
  port: 'http' | 'tcp';
  tokens: 'envoy' | 'strict';
  /** The `typ` that strict mode asks for; empty is any. */
  tokenType: string;
  enforcedBy: 'portcullis' | 'istio';
}

export interface Case {
  policies: string;
  surroundings: Surroundings;
  keySets: KeySet[];
  request: RequestForm;
  tokens: Token[];
  peer: Peer;
  gateway: Gateway;
  clock: Clock;
}

const plaintext: Peer = { kind: 'plaintext', form: 'names', uri: '', dns: '', subject: '', pem: '' };
const noGateway: Gateway = {
  kind: 'none',
  principal: 'cluster.local/ns/istio-system/sa/istio-ingressgateway-service-account',
  virtualService: '',
  hasPolicies: false,
};

export function emptyCase(): Case {
  return {
    policies: '',
    surroundings: {
      namespace: 'default',
      labels: '',
      proxy: 'sidecar',
      numTrustedProxies: '0',
      pathNormalization: 'BASE',
      rootNamespace: 'istio-system',
      trustDomain: 'cluster.local',
      trustDomainAliases: '',
      webhook: true,
      port: 'http',
      tokens: 'envoy',
      tokenType: '',
      enforcedBy: 'portcullis',
    },
    keySets: [],
    request: {
      method: 'GET',
      host: 'example.com',
      path: '/',
      headers: [],
      sourceIp: '10.0.0.1',
      destinationIp: '10.0.0.2',
      destinationPort: '8080',
    },
    tokens: [newToken('none')],
    peer: plaintext,
    gateway: noGateway,
    clock: realClock,
  };
}

/** The case that a request of a scenario describes. */
export function caseFromScenario(policies: string, scenario: ScenarioFile, chosen: ScenarioRequest | undefined): Case {
  const empty = emptyCase();
  const { mesh, workload, proxy, gateway } = scenario;
  const shared: Case = {
    ...empty,
    policies,
    surroundings: {
      namespace: workload?.namespace ?? empty.surroundings.namespace,
      labels: Object.entries(workload?.labels ?? {}).map(([name, value]) => `${name}=${value}`).join('\n'),
      proxy: proxy?.kind ?? 'sidecar',
      numTrustedProxies: String(proxy?.numTrustedProxies ?? 0),
      pathNormalization: proxy?.pathNormalization ?? 'BASE',
      rootNamespace: mesh?.rootNamespace ?? empty.surroundings.rootNamespace,
      trustDomain: mesh?.trustDomain ?? empty.surroundings.trustDomain,
      trustDomainAliases: (mesh?.trustDomainAliases ?? []).join('\n'),
      webhook: mesh?.validatingWebhook ?? true,
      port: proxy?.tcp === true ? 'tcp' : 'http',
      tokens: scenario.tokens,
      tokenType: scenario.tokenType ?? '',
      enforcedBy: scenario.enforcedBy,
    },
    gateway: gateway
      ? {
          kind: 'ingress',
          principal: gateway.principal,
          virtualService: gateway.virtualService ?? '',
          hasPolicies: gateway.hasPolicies,
        }
      : empty.gateway,
    keySets: scenario.jwks.map(({ uri, keys, jwks }) => ({
      uri,
      kind: jwks === undefined ? 'demo' : 'text',
      names: keys ?? [],
      text: jwks ?? '',
    })),
    clock: scenario.now === undefined ? realClock : { ...realClock, mode: 'fixed', fixed: timeText(scenario.now) },
  };
  if (!chosen) return shared;
  const { request } = chosen;
  return {
    ...shared,
    request: {
      method: request.method,
      host: request.host,
      path: request.path,
      headers: request.headers,
      sourceIp: request.sourceIp,
      destinationIp: request.destinationIp,
      destinationPort: String(request.destinationPort),
    },
    tokens: request.tokens.length === 0 ? shared.tokens : request.tokens.map(tokenFromSpec),
    peer: peerFromCertificate(request.certificate),
    clock: { ...shared.clock, delay: request.at },
  };
}

/** A certificate without any name stands for TLS without a client certificate. */
function peerFromCertificate(certificate: Certificate | undefined): Peer {
  if (!certificate) return plaintext;
  const { uri, dns, subject, pem } = certificate;
  const known = uri.length > 0 || dns.length > 0 || subject !== '' || pem !== undefined;
  return {
    kind: known ? 'certificate' : 'tls',
    form: pem === undefined ? 'names' : 'pem',
    uri: uri.join('\n'),
    dns: dns.join('\n'),
    subject,
    pem: pem ?? '',
  };
}

/** `publicJwks` is undefined until the minting module is loaded; demo key sets are then left out. */
export function toSetting(edited: Case, publicJwks: ((names: string[]) => string) | undefined): Setting {
  const { surroundings, gateway } = edited;
  const { trustDomain, namespace } = surroundings;
  return {
    policies: edited.policies,
    mesh: {
      rootNamespace: surroundings.rootNamespace,
      trustDomain,
      trustDomainAliases: lines(surroundings.trustDomainAliases),
      validatingWebhook: surroundings.webhook,
    },
    workload: { namespace, labels: labelsOf(surroundings.labels) },
    proxy: {
      kind: surroundings.proxy,
      numTrustedProxies: wholeNumber(surroundings.numTrustedProxies) ?? 0,
      pathNormalization: surroundings.pathNormalization,
      tcp: surroundings.port === 'tcp',
    },
    ...(surroundings.proxy === 'sidecar' ? { serverUri: [`spiffe://${trustDomain}/ns/${namespace}/sa/default`] } : {}),
    ...(gateway.kind === 'none' ? {} : { gateway: toGateway(gateway) }),
    enforcedBy: surroundings.enforcedBy,
    tokens: surroundings.tokens,
    ...(surroundings.tokenType === '' ? {} : { tokenType: surroundings.tokenType }),
    jwks: edited.keySets.flatMap(({ uri, kind, names, text }) => {
      if (kind === 'text') return [{ uri, jwks: text }];
      return publicJwks ? [{ uri, jwks: publicJwks(names) }] : [];
    }),
  };
}

function toGateway({ principal, virtualService }: Gateway): NonNullable<Setting['gateway']> {
  return virtualService.trim() === '' ? { principal } : { principal, virtualService };
}

export function toRequest(edited: Case, tokens: { place: Place; text: string }[], now: number): RequestInput {
  const { request, peer } = edited;
  const named = request.headers.filter((header) => header.name !== '');
  const { path, headers } = placeTokens(request.path, named, tokens);
  const input: RequestInput = { method: request.method, authority: request.host, path, headers, now };
  if (request.sourceIp !== '') input.sourceIp = request.sourceIp;
  if (request.destinationIp !== '') input.destinationIp = request.destinationIp;
  const port = wholeNumber(request.destinationPort);
  if (port !== undefined) input.destinationPort = port;
  if (peer.kind !== 'plaintext') input.scheme = 'https';
  if (peer.kind === 'certificate') {
    input.certificate =
      peer.form === 'names'
        ? { uri: lines(peer.uri), dns: lines(peer.dns), subject: peer.subject }
        : { uri: [], dns: [], subject: '', pem: peer.pem };
  }
  return input;
}

/** True when deciding the case needs the minting module. */
export function needsMinter(edited: Case): boolean {
  return edited.tokens.some((token) => token.mode === 'mint') || edited.keySets.some((set) => set.kind === 'demo');
}

function lines(text: string): string[] {
  return text.split('\n').map((line) => line.trim()).filter((line) => line !== '');
}

function labelsOf(text: string): Record<string, string> {
  return Object.fromEntries(
    lines(text).map((line) => {
      const at = line.indexOf('=');
      return at < 0 ? [line, ''] : [line.slice(0, at).trim(), line.slice(at + 1).trim()];
    }),
  );
}

/** Up to five digits, so that what reaches the engine fits its integers. */
function wholeNumber(text: string): number | undefined {
  return /^\d{1,5}$/.test(text.trim()) ? Number(text) : undefined;
}
