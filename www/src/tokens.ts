// Tokens of a request: where each travels, how its text comes about, and what it says when read.

import type { Header, TokenSpec } from './engine.js';

export type Place = TokenSpec['place'];

/** The three modes keep separate texts: going from one to another loses and alters nothing. */
export interface Token {
  id: number;
  mode: 'none' | 'paste' | 'mint';
  place: Place;
  pasted: string;
  key: string;
  /** Empty: the key's own name. Null: no key id in the token. */
  kid: string | null;
  /** Text of a JSON object; `exp`, `nbf` and `iat` may be relative, such as "+1h". */
  claims: string;
  /** Counts wishes for a fresh token with the same claims. */
  edition: number;
}

const bearer: Place = { kind: 'header', name: 'authorization', prefix: 'Bearer ' };

const sampleClaims = `{
  "iss": "issuer-foo",
  "sub": "alice",
  "exp": "+1h"
}`;

let lastId = 0;

export function newToken(mode: Token['mode']): Token {
  lastId += 1;
  return { id: lastId, mode, place: bearer, pasted: '', key: 'rsa-1', kid: '', claims: sampleClaims, edition: 0 };
}

export function tokenFromSpec(spec: TokenSpec): Token {
  const token = newToken(spec.raw === undefined ? 'mint' : 'paste');
  return {
    ...token,
    place: spec.place,
    pasted: spec.raw ?? '',
    key: spec.key ?? token.key,
    kid: spec.kid === undefined ? '' : spec.kid,
    claims: spec.claims === undefined ? token.claims : indented(spec.claims),
  };
}

/** The JSON text with line breaks; text that is not JSON stays as it is. */
function indented(json: string): string {
  try {
    return JSON.stringify(JSON.parse(json), null, 2);
  } catch {
    return json;
  }
}

export function placeText(place: Place): string {
  switch (place.kind) {
    case 'header':
      return `header ${place.name}`;
    case 'param':
      return `query parameter ${place.name}`;
    case 'cookie':
      return `cookie ${place.name}`;
  }
}

/** Puts each token where it travels. Cookies join one `cookie` line, as a browser sends them. */
export function placeTokens(
  path: string,
  headers: Header[],
  tokens: { place: Place; text: string }[],
): { path: string; headers: Header[] } {
  let placedPath = path;
  const placed = headers.map((header) => ({ ...header }));
  for (const { place, text } of tokens) {
    switch (place.kind) {
      case 'header':
        placed.push({ name: place.name, value: `${place.prefix}${text}` });
        break;
      case 'param':
        placedPath += `${placedPath.includes('?') ? '&' : '?'}${place.name}=${text}`;
        break;
      case 'cookie': {
        const pair = `${place.name}=${text}`;
        const cookie = placed.find((header) => header.name.toLowerCase() === 'cookie');
        if (cookie) cookie.value = `${cookie.value}; ${pair}`;
        else placed.push({ name: 'cookie', value: pair });
        break;
      }
    }
  }
  return { path: placedPath, headers: placed };
}

/** What a token says, for display only: nothing is verified here. */
export type Decoded =
  | { ok: true; header: string; payload: string; times: { name: string; seconds: number }[] }
  | { ok: false; error: string };

export function decode(text: string): Decoded {
  const segments = text.trim().split('.');
  const [header, payload] = segments;
  if (segments.length !== 3 || header === undefined || payload === undefined) {
    return { ok: false, error: `a signed token has three parts separated by dots, this text has ${segments.length}` };
  }
  try {
    const claims: unknown = JSON.parse(segmentText(payload));
    return {
      ok: true,
      header: JSON.stringify(JSON.parse(segmentText(header)), null, 2),
      payload: JSON.stringify(claims, null, 2),
      times: timesOf(claims),
    };
  } catch {
    return { ok: false, error: 'the header or the claims are not base64url of JSON' };
  }
}

function segmentText(segment: string): string {
  const base64 = segment.replaceAll('-', '+').replaceAll('_', '/');
  const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
  return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
}

function timesOf(claims: unknown): { name: string; seconds: number }[] {
  if (typeof claims !== 'object' || claims === null) return [];
  const fields = new Map<string, unknown>(Object.entries(claims));
  return ['iat', 'nbf', 'exp'].flatMap((name) => {
    const seconds = fields.get(name);
    return typeof seconds === 'number' ? [{ name, seconds }] : [];
  });
}
