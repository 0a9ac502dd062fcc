// The only module that touches the generated packages. It turns a trap of the engine into a value
// the page can show, and rebuilds the instance behind it.

import initEngine, * as glue from './generated/engine/portcullis_playground.js';
import type { CertificateRead, LoadReport, Report, RequestInput, Setting } from './generated/engine/portcullis_playground.js';
import type { MintResult, MintSpec } from './generated/mint/portcullis_mint.js';

export type {
  Certificate,
  CertificateRead,
  Condition,
  Diagnostic,
  Header,
  HeaderEdits,
  Item,
  LoadReport,
  Mesh,
  PolicySummary,
  Position,
  Proxy,
  Range,
  Report,
  RequestInput,
  ScenarioFile,
  ScenarioRequest,
  Setting,
  Step,
  TokenSpec,
  Workload,
} from './generated/engine/portcullis_playground.js';
export type { MintResult, MintSpec } from './generated/mint/portcullis_mint.js';

/** The answer of a call into the engine; `stopped` when the engine trapped and was rebuilt. */
export type Answer<T> = { kind: 'answer'; value: T } | { kind: 'stopped' };

/** Why no engine could be started. `blocked`: the page's security policy refuses WebAssembly. */
export type StartFailure = { kind: 'blocked' } | { kind: 'failed'; message: string };

export type Started = { kind: 'started'; engine: EngineHost } | StartFailure;

export interface Minter {
  keyNames(): string[];
  publicJwks(names: string[]): string;
  mint(spec: MintSpec): MintResult;
}

/** Fetches, compiles and starts the engine. Later calls share the compiled module. */
export async function startEngine(): Promise<Started> {
  try {
    await initEngine();
    return { kind: 'started', engine: new EngineHost() };
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    const blocked = error instanceof WebAssembly.CompileError && /content security policy/i.test(message);
    return blocked ? { kind: 'blocked' } : { kind: 'failed', message };
  }
}

export class EngineHost {
  #engine = new glue.Engine();
  /** The last setting that compiled: a rebuilt engine gets it back. */
  #compiled: Setting | undefined;

  version(): string {
    return glue.version();
  }

  load(setting: Setting): Answer<LoadReport> {
    const answer = this.#call(() => this.#engine.load(setting));
    if (answer.kind === 'answer' && answer.value.ok) this.#compiled = setting;
    return answer;
  }

  explain(request: RequestInput): Answer<Report> {
    return this.#call(() => this.#engine.explain(request));
  }

  /** What is in a certificate, PEM, or in the value of `x-forwarded-client-cert`. */
  readCertificate(text: string, isHeader: boolean): Answer<CertificateRead> {
    return this.#call(() => glue.readCertificate(text, isHeader));
  }

  free(): void {
    this.#engine.free();
  }

  #call<T>(run: () => T): Answer<T> {
    try {
      return { kind: 'answer', value: run() };
    } catch {
      this.#rebuild();
      return { kind: 'stopped' };
    }
  }

  /** A trap leaves memory and stack of the instance undefined, so nothing of it is used again. */
  #rebuild(): void {
    glue.__wbg_reset_state();
    this.#engine = new glue.Engine();
    const compiled = this.#compiled;
    if (!compiled) return;
    try {
      this.#engine.load(compiled);
    } catch {
      this.#compiled = undefined;
    }
  }
}

let minter: Promise<Minter> | undefined;

/** Loads the minting module on first use; a failed load is tried again by the next call. */
export function loadMinter(): Promise<Minter> {
  minter ??= import('./generated/mint/portcullis_mint.js').then(
    async (module) => {
      await module.default();
      return module;
    },
  );
  minter.catch(() => {
    minter = undefined;
  });
  return minter;
}
