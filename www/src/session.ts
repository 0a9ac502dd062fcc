// From a case to its verdict: mints what must be minted, compiles when the setting changed, explains the request.
// Keeps the last good result when the policies do not compile or the engine stops.

import { baseTime, realNow } from './clock.js';
import { loadMinter } from './engine.js';
import type { CertificateRead, EngineHost, LoadReport, Minter, MintResult, Report, Setting } from './engine.js';
import { needsMinter, toRequest, toSetting } from './model.js';
import type { Case } from './model.js';
import type { Token } from './tokens.js';

export interface Minted {
  result: MintResult;
  /** Seconds since epoch. */
  at: number;
}

export interface Outcome {
  load: LoadReport | undefined;
  /** The last good report; undefined until the first one. */
  report: Report | undefined;
  /** `policy`: the report is from the last policies that compiled. `stopped`: from before the engine stopped. */
  stale: 'no' | 'policy' | 'stopped';
  /** A case waits for the minting module. */
  waiting: boolean;
  /** The minting module could not be loaded. */
  mintFailure: string | undefined;
  milliseconds: number;
  /** Seconds since epoch at which the request was sent. */
  now: number;
}

export class Session {
  outcome: Outcome = {
    load: undefined,
    report: undefined,
    stale: 'no',
    waiting: false,
    mintFailure: undefined,
    milliseconds: 0,
    now: realNow(),
  };

  readonly #engine: EngineHost;
  readonly #changed: () => void;
  #minter: Minter | undefined;
  #minted = new Map<number, Minted & { recipe: string }>();
  #jwks = new Map<string, string>();
  #read = new Map<string, CertificateRead>();
  #loaded = '';
  #stopsOn = '';
  #explained = '';
  #latest: Case | undefined;

  constructor(engine: EngineHost, changed: () => void) {
    this.#engine = engine;
    this.#changed = changed;
  }

  get keyNames(): string[] {
    return this.#minter?.keyNames() ?? [];
  }

  mintedFor(token: Token): Minted | undefined {
    return this.#minted.get(token.id);
  }

  /** What a PEM text or the value of `x-forwarded-client-cert` tells; undefined if the engine stops on it. */
  read(text: string, isHeader: boolean): CertificateRead | undefined {
    const key = `${isHeader} ${text}`;
    const known = this.#read.get(key);
    if (known) return known;
    const answer = this.#engine.readCertificate(text, isHeader);
    if (answer.kind === 'stopped') return undefined;
    if (this.#read.size > 30) this.#read.clear();
    this.#read.set(key, answer.value);
    return answer.value;
  }

  /** Decides the case at once if it can; otherwise as soon as the minting module is there. */
  settle(edited: Case): void {
    this.#latest = edited;
    if (needsMinter(edited) && !this.#minter && this.outcome.mintFailure === undefined) {
      this.outcome = { ...this.outcome, waiting: true };
      this.#loadMinter();
      return;
    }
    this.#decide(edited);
  }

  /** Decides again because time went by; says whether anything changed. */
  tick(): boolean {
    const edited = this.#latest;
    if (!edited || edited.clock.mode !== 'real' || this.outcome.waiting || this.outcome.stale === 'stopped') return false;
    const before = this.#explained;
    const { milliseconds } = this.outcome;
    this.#decide(edited);
    this.outcome = { ...this.outcome, milliseconds };
    return before !== this.#explained;
  }

  retryMinter(): void {
    this.outcome = { ...this.outcome, mintFailure: undefined };
    if (this.#latest) this.settle(this.#latest);
  }

  #loadMinter(): void {
    loadMinter().then(
      (minter) => {
        this.#minter = minter;
        this.#settleLatest();
      },
      (error: unknown) => {
        this.outcome = { ...this.outcome, mintFailure: error instanceof Error ? error.message : String(error) };
        this.#settleLatest();
      },
    );
  }

  #settleLatest(): void {
    this.outcome = { ...this.outcome, waiting: false };
    if (this.#latest) this.#decide(this.#latest);
    this.#changed();
  }

  #decide(edited: Case): void {
    const base = baseTime(edited.clock, realNow()) ?? realNow();
    const now = base + edited.clock.delay;
    const tokens = edited.tokens.flatMap((token) => {
      const text = this.#textOf(token, edited, base);
      return text === undefined ? [] : [{ place: token.place, text }];
    });
    const minter = this.#minter;
    const setting = toSetting(edited, minter && ((names) => this.#publicJwks(minter, names)));
    const settingKey = JSON.stringify(setting);
    const request = toRequest(edited, tokens, now);
    const started = performance.now();
    if (!this.#load(setting, settingKey)) {
      this.outcome = { ...this.outcome, waiting: false, stale: 'stopped', now };
      return;
    }
    const report = this.#engine.explain(request);
    const milliseconds = performance.now() - started;
    if (report.kind === 'stopped') {
      this.#loaded = '';
      this.outcome = { ...this.outcome, waiting: false, stale: 'stopped', now };
      return;
    }
    const stale = this.outcome.load?.ok === false && report.value.outcome !== 'cannot-decide' ? 'policy' : 'no';
    const explained = JSON.stringify(report.value);
    const changed = explained !== this.#explained;
    this.#explained = explained;
    this.outcome = {
      ...this.outcome,
      report: changed ? report.value : this.outcome.report,
      stale,
      waiting: false,
      milliseconds,
      now,
    };
  }

  /** False when the engine stops on this setting; the same setting is not tried twice in a row. */
  #load(setting: Setting, key: string): boolean {
    if (key === this.#loaded) return true;
    if (key === this.#stopsOn) return false;
    const load = this.#engine.load(setting);
    this.#stopsOn = load.kind === 'stopped' ? key : '';
    if (load.kind === 'stopped') return false;
    this.#loaded = key;
    this.outcome = { ...this.outcome, load: load.value };
    return true;
  }

  #textOf(token: Token, edited: Case, base: number): string | undefined {
    switch (token.mode) {
      case 'none':
        return undefined;
      case 'paste':
        return token.pasted.trim();
      case 'mint': {
        const minted = this.#mint(token, edited, base);
        return minted?.result.ok ? minted.result.token : undefined;
      }
    }
  }

  /** In real time a token keeps its text until its recipe changes: it ages, as a real one does. */
  #mint(token: Token, { clock }: Case, base: number): Minted | undefined {
    const minter = this.#minter;
    if (!minter) return undefined;
    const { key, claims, edition } = token;
    const recipe = JSON.stringify([key, token.kid, claims, edition, clock.mode === 'real' ? 'real' : base]);
    const kept = this.#minted.get(token.id);
    if (kept?.recipe === recipe) return kept;
    const kid = token.kid === '' ? undefined : token.kid;
    const result = mintSafely(minter, { key, claims, now: base, ...(kid === undefined ? {} : { kid }) });
    const minted = { result, at: base, recipe };
    this.#minted.set(token.id, minted);
    return minted;
  }

  #publicJwks(minter: Minter, names: string[]): string {
    const key = names.join(' ');
    const known = this.#jwks.get(key);
    if (known !== undefined) return known;
    const all = minter.keyNames();
    const text = minter.publicJwks(names.filter((name) => all.includes(name)));
    this.#jwks.set(key, text);
    return text;
  }
}

function mintSafely(minter: Minter, spec: Parameters<Minter['mint']>[0]): MintResult {
  try {
    return minter.mint(spec);
  } catch {
    return { ok: false, error: 'the minting module stopped on these claims' };
  }
}
