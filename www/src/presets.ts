// The examples of the repository as presets: the same files that the tests run.

import type { ScenarioFile, ScenarioRead } from './engine.js';
import { sentence } from './views/sentence.js';

export interface Preset {
  /** `folder/file`, stable across builds. */
  id: string;
  folder: string;
  group: string;
  title: string;
  policies: string;
  scenario: ScenarioFile;
}

/** A preset and the index of one of its requests. */
export interface Opening {
  preset: Preset;
  request: number;
}

/** YAML texts by path; the last two segments are folder and file. */
export type Files = Record<string, string>;

/** Undefined when the text cannot be read at all. */
type Read = (text: string) => ScenarioRead | undefined;

const groups = new Map([
  ['kyma-istio-jwt', 'Kyma: JWT for a workload'],
  ['kyma-client-certificate', 'Kyma: client certificate'],
  ['istio-jwt-ingress', 'Istio: JWT at the ingress gateway'],
]);

export function readPresets(read: Read, files: Files): Preset[] {
  const order = [...groups.keys()];
  const rank = (preset: Preset): number => (order.indexOf(preset.folder) + order.length + 1) % (order.length + 1);
  return Object.entries(files)
    .flatMap(([path, text]) => readPreset(read, files, path, text))
    .sort((a, b) => rank(a) - rank(b) || (a.id < b.id ? -1 : 1));
}

function readPreset(read: Read, files: Files, path: string, text: string): Preset[] {
  const [folder, file] = path.split('/').slice(-2);
  if (folder === undefined || file === undefined || !file.startsWith('scenarios')) return [];
  const result = read(text);
  const scenario = result?.ok ? result.scenario : undefined;
  if (!scenario) return [];
  return [
    {
      id: `${folder}/${file.replace(/\.yaml$/, '')}`,
      folder,
      group: groups.get(folder) ?? folder,
      title: sentence(scenario.description),
      policies: policiesOf(files, path, scenario),
      scenario,
    },
  ];
}

function policiesOf(files: Files, path: string, { policies }: ScenarioFile): string {
  if (policies.includes('\n') || !policies.endsWith('.yaml')) return policies;
  return files[path.replace(/[^/]*$/, policies)] ?? '';
}

/**
 * Where the page opens: the asked preset, or else the first, on a request that a policy denies although it carries
 * a token. There the nearest miss says most.
 */
export function openingOf(presets: Preset[], asked: string): Opening | undefined {
  const wanted = presets.filter((preset) => preset.id === asked || preset.folder === asked);
  const candidates = wanted.length > 0 ? wanted : presets;
  for (const preset of candidates) {
    const request = preset.scenario.requests.findIndex(
      (each) => each.expect.status === 403 && each.request.tokens.length > 0,
    );
    if (request >= 0) return { preset, request };
  }
  const [first] = candidates;
  return first && { preset: first, request: 0 };
}
