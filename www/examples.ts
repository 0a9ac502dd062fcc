// Reads the repository's examples at build time, by the scenario reader of the core.

import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

import { load } from './modules.js';
import type { ScenarioFile, ScenarioRequest } from './src/engine.js';
import type { Preset } from './src/presets.js';
import { sentence } from './src/views/sentence.js';

type Reader = typeof import('./src/generated/scenarios/portcullis_playground.js');

const examples = fileURLToPath(new URL('../examples', import.meta.url));

const groups = new Map([
  ['kyma-istio-jwt', 'Kyma: JWT for a workload'],
  ['kyma-client-certificate', 'Kyma: client certificate'],
  ['istio-jwt-ingress', 'Istio: JWT at the ingress gateway'],
  ['partner-certificates', 'Partners with certificates'],
]);

/** The scenario files of all examples, in the order of the page's menu. */
export async function readPresets(): Promise<Preset[]> {
  const reader: Reader = await load('scenarios/portcullis_playground');
  const order = [...groups.keys()];
  const rank = (preset: Preset): number => (order.indexOf(preset.folder) + order.length + 1) % (order.length + 1);
  return readdirSync(examples)
    .flatMap((folder) => readdirSync(`${examples}/${folder}`).map((file) => ({ folder, file })))
    .filter(({ file }) => /^scenarios.*\.yaml$/.test(file))
    .map(({ folder, file }) => readPreset(reader, folder, file))
    .sort((a, b) => rank(a) - rank(b) || (a.id < b.id ? -1 : 1));
}

function readPreset(reader: Reader, folder: string, file: string): Preset {
  const read = reader.readScenario(text(folder, file));
  if (!read.ok) throw new Error(`examples/${folder}/${file}: ${read.diagnostics.map(({ message }) => message).join('; ')}`);
  const scenario = withFiles(folder, read.scenario);
  return {
    id: `${folder}/${file.replace(/\.yaml$/, '')}`,
    folder,
    group: groups.get(folder) ?? folder,
    title: sentence(scenario.description),
    policies: textOf(folder, scenario.policies),
    scenario,
  };
}

/** The scenario with what it names in other files. */
function withFiles(folder: string, scenario: ScenarioFile): ScenarioFile {
  const { gateway, requests } = scenario;
  const virtualService = gateway?.virtualService;
  return {
    ...scenario,
    ...(gateway && virtualService !== undefined
      ? { gateway: { ...gateway, virtualService: textOf(folder, virtualService) } }
      : {}),
    requests: requests.map((request) => withCertificate(folder, request)),
  };
}

/** A named certificate lies beside the example, or is one of those that all share. */
function withCertificate(folder: string, { request, ...rest }: ScenarioRequest): ScenarioRequest {
  const { namedCertificate, ...others } = request;
  if (namedCertificate === undefined) return { ...rest, request };
  const file = `${namedCertificate}.pem`;
  const place = existsSync(`${examples}/${folder}/${file}`) ? folder : 'certificates';
  return { ...rest, request: { ...others, certificate: { uri: [], dns: [], subject: '', pem: text(place, file) } } };
}

/** YAML as it stands, or the file that is named in its place. */
function textOf(folder: string, yaml: string): string {
  return yaml.includes('\n') || !yaml.endsWith('.yaml') ? yaml : text(folder, yaml);
}

function text(folder: string, file: string): string {
  return readFileSync(`${examples}/${folder}/${file}`, 'utf8');
}
