// The fields of the covered Istio resources, for completion only. Whether a policy is right is for the engine to say.

/** `list`: the value is a list of such nodes. `values`: known scalars. */
export interface Field {
  detail?: string;
  list?: boolean;
  values?: readonly string[];
  fields?: Fields;
}

export type Fields = Readonly<Record<string, Field>>;

const text: Field = {};
const texts: Field = { list: true };
const labels: Field = { fields: {} };

const selector: Field = { detail: 'workloads by label', fields: { matchLabels: labels } };

const targetRefs: Field = {
  detail: 'gateways or services',
  list: true,
  fields: { group: text, kind: { values: ['Gateway', 'GatewayClass', 'Service', 'ServiceEntry'] }, name: text },
};

const metadata: Field = { fields: { name: text, namespace: text, labels, annotations: labels } };

const source: Field = {
  fields: {
    principals: { list: true, detail: 'peer identities' },
    notPrincipals: texts,
    requestPrincipals: { list: true, detail: 'issuer/subject of the token' },
    notRequestPrincipals: texts,
    namespaces: texts,
    notNamespaces: texts,
    serviceAccounts: texts,
    notServiceAccounts: texts,
    ipBlocks: { list: true, detail: 'source IP' },
    notIpBlocks: texts,
    remoteIpBlocks: { list: true, detail: 'IP after trusted proxies' },
    notRemoteIpBlocks: texts,
  },
};

const methods: Field = { list: true, values: ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'] };

const operation: Field = {
  fields: {
    hosts: texts,
    notHosts: texts,
    ports: texts,
    notPorts: texts,
    methods,
    notMethods: methods,
    paths: texts,
    notPaths: texts,
  },
};

const condition: Field = {
  list: true,
  fields: {
    key: {
      values: [
        'request.headers[]',
        'request.auth.principal',
        'request.auth.audiences',
        'request.auth.presenter',
        'request.auth.claims[]',
        'source.ip',
        'remote.ip',
        'source.namespace',
        'source.principal',
        'destination.ip',
        'destination.port',
        'connection.sni',
      ],
    },
    values: texts,
    notValues: texts,
  },
};

const jwtRule: Field = {
  list: true,
  detail: 'one per issuer',
  fields: {
    issuer: text,
    audiences: texts,
    jwksUri: text,
    jwks: { detail: 'key set as JSON text' },
    fromHeaders: { list: true, fields: { name: text, prefix: text } },
    fromParams: texts,
    fromCookies: texts,
    outputPayloadToHeader: text,
    outputClaimToHeaders: { list: true, fields: { header: text, claim: text } },
    forwardOriginalToken: { values: ['true', 'false'] },
    timeout: text,
  },
};

const resource = (version: readonly string[], kind: string, spec: Fields): Fields => ({
  apiVersion: { values: version },
  kind: { values: ['RequestAuthentication', 'AuthorizationPolicy'], detail: kind },
  metadata,
  spec: { fields: spec },
});

const versions = ['security.istio.io/v1', 'security.istio.io/v1beta1'] as const;

const requestAuthentication = resource(versions, 'RequestAuthentication', { selector, targetRefs, jwtRules: jwtRule });

const authorizationPolicy = resource(versions, 'AuthorizationPolicy', {
  selector,
  targetRefs,
  action: { values: ['ALLOW', 'DENY', 'AUDIT', 'CUSTOM'] },
  rules: {
    list: true,
    fields: {
      from: { list: true, detail: 'who', fields: { source } },
      to: { list: true, detail: 'what', fields: { operation } },
      when: { ...condition, detail: 'further conditions' },
    },
  },
  provider: { fields: { name: text } },
});

/** Fields of a document of this kind; those of both kinds while it has none. */
export function documentFields(kind: string | undefined): Fields {
  switch (kind) {
    case 'RequestAuthentication':
      return requestAuthentication;
    case 'AuthorizationPolicy':
      return authorizationPolicy;
    default:
      return { apiVersion: { values: versions }, kind: { values: ['RequestAuthentication', 'AuthorizationPolicy'] }, metadata };
  }
}
