// Decides the opening example at build time, by the modules the page itself uses.

import { load } from './modules.js';
import { baseTime, realNow } from './src/clock.js';
import { caseFromScenario, toRequest, toSetting } from './src/model.js';
import { openingOf } from './src/presets.js';
import type { Preset } from './src/presets.js';
import { answerText } from './src/views/answer.js';
import { sentence } from './src/views/sentence.js';

type EngineModule = typeof import('./src/generated/engine/portcullis_playground.js');
type MintModule = typeof import('./src/generated/mint/portcullis_mint.js');

export interface Prerendered {
  policies: string;
  outcome: string;
  answer: string;
  summary: string;
}

export async function prerender(presets: Preset[], asked: string): Promise<Prerendered> {
  const engineModule: EngineModule = await load('engine/portcullis_playground');
  const minter: MintModule = await load('mint/portcullis_mint');
  const opening = openingOf(presets, asked);
  if (!opening) throw new Error('no example to open with: ../examples/*/scenarios*.yaml');
  const { preset, request } = opening;
  const opened = caseFromScenario(preset.policies, preset.scenario, preset.scenario.requests[request]);
  const base = baseTime(opened.clock, realNow()) ?? realNow();
  const tokens = opened.tokens.flatMap(({ mode, place, pasted, key, kid, claims }) => {
    if (mode !== 'mint') return mode === 'paste' ? [{ place, text: pasted }] : [];
    const minted = minter.mint({ key, claims, now: base, ...(kid === '' ? {} : { kid }) });
    return minted.ok ? [{ place, text: minted.token }] : [];
  });
  const engine = new engineModule.Engine();
  engine.load(toSetting(opened, minter.publicJwks));
  const report = engine.explain(toRequest(opened, tokens, base + opened.clock.delay));
  engine.free();
  return {
    policies: preset.policies,
    outcome: report.outcome,
    answer: answerText(report),
    summary: sentence(report.error ?? report.summary).replaceAll('`', ''),
  };
}
