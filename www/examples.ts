// Reads the repository's examples at build time, by the scenario reader of the core.

import { readFileSync, readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

import { load } from './modules.js';
import type { ScenarioFile } from './src/engine.js';
import type { Preset } from './src/presets.js';
import { sentence } from './src/views/sentence.js';

type Reader = typeof import('./src/generated/scenarios/portcullis_playground.js');

const examples = fileURLToPath(new URL('../examples', import.meta.url));

const groups = new Map([
  ['kyma-istio-jwt', 'Kyma: JWT for a workload'],
  ['kyma-client-certificate', 'Kyma: client certificate'],
  ['istio-jwt-ingress', 'Istio: JWT at the ingress gateway'],
]);

/** The scenario files of all examples but those through a gateway, in the order of the page's menu. */
export async function readPresets(): Promise<Preset[]> {
  const reader: Reader = await load('scenarios/portcullis_playground');
  const order = [...groups.keys()];
  const rank = (preset: Preset): number => (order.indexOf(preset.folder) + order.length + 1) % (order.length + 1);
  return readdirSync(examples)
    .flatMap((folder) => readdirSync(`${examples}/${folder}`).map((file) => ({ folder, file })))
    .filter(({ file }) => /^scenarios.*\.yaml$/.test(file))
    .map(({ folder, file }) => readPreset(reader, folder, file))
    .filter(({ scenario }) => !scenario.gateway)
    .sort((a, b) => rank(a) - rank(b) || (a.id < b.id ? -1 : 1));
}

function readPreset(reader: Reader, folder: string, file: string): Preset {
  const read = reader.readScenario(text(folder, file));
  if (!read.ok) throw new Error(`examples/${folder}/${file}: ${read.diagnostics.map(({ message }) => message).join('; ')}`);
  const { scenario } = read;
  return {
    id: `${folder}/${file.replace(/\.yaml$/, '')}`,
    folder,
    group: groups.get(folder) ?? folder,
    title: sentence(scenario.description),
    policies: policiesOf(folder, scenario),
    scenario,
  };
}

function policiesOf(folder: string, { policies }: ScenarioFile): string {
  return policies.includes('\n') || !policies.endsWith('.yaml') ? policies : text(folder, policies);
}

function text(folder: string, file: string): string {
  return readFileSync(`${examples}/${folder}/${file}`, 'utf8');
}
